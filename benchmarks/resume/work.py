"""The small work that every trainer does: the same network, data, optimiser, and the same moments to be killed at."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SEED = 0
SAMPLES = 96
HELD_OUT = 32
SIDE = 8
BATCH = 8
EPOCHS = 3
EPOCH_STEPS = SAMPLES // BATCH
STEPS = EPOCHS * EPOCH_STEPS
SAVE_EVERY = 4
"""Steps between checkpoints: inside epochs and, since 12 is a multiple of it, also at the end of each."""

LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
DROPOUT = 0.2

MID_EPOCH = EPOCH_STEPS + 6
"""The step in which "mid-epoch" kills: two steps after the checkpoint of step 16."""

BOUNDARY = 2 * EPOCH_STEPS + 1
"""The step in which "epoch boundary" kills: the first of the third epoch, right after the checkpoint of step 24."""

MEASURED = 2 * EPOCH_STEPS
"""The step after which the evaluation runs in which "during evaluation" kills."""


@dataclass(frozen=True)
class Variant:
    """What is random in the work beside the order of the samples."""

    augment: bool
    dropout: float


VARIANTS = {
    "augmentation + dropout": Variant(True, DROPOUT),
    "dropout": Variant(False, DROPOUT),
    "neither": Variant(False, 0.0),
}
STOPS = ("mid-epoch", "epoch boundary", "during evaluation", "stage boundary")


class Network(nn.Module):
    """Two normalised convolutions and a head, (B, 1, 8, 8) to the same."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 1, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        predicted: Tensor = self.layers(image)
        return predicted


def loss_of(predicted: Tensor, target: Tensor) -> Tensor:
    return (predicted - target).square().mean()


def optimizer_of(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def example(index: int, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(image, target), each (1, 8, 8) float32: the target is the image smoothed along a row and squared."""
    fixed = np.random.default_rng([index, 1 if split == "train" else 2])
    image = fixed.standard_normal((1, SIDE, SIDE)).astype(np.float32)
    target = 0.5 * (image + np.roll(image, 1, axis=2)) ** 2
    return image, target.astype(np.float32)


def augmented(
    image: np.ndarray, target: np.ndarray, coin: float, noise: np.ndarray, gain: float
) -> tuple[np.ndarray, np.ndarray]:
    """A flip by `coin` in [0, 1), `noise` of the image's shape, a brightness by `gain` in [0, 1)."""
    if coin < 0.5:
        image, target = image[:, ::-1], target[:, ::-1]
    image = (0.9 + 0.2 * gain) * image + 0.1 * noise
    return np.ascontiguousarray(image, np.float32), np.ascontiguousarray(target)


class Samples(torch.utils.data.Dataset[dict[str, Any]]):
    """The data as a torch user writes it: augmentation draws from the global generators of the process."""

    def __init__(self, split: str, augment: bool) -> None:
        self.split = split
        self.augment = augment

    def __len__(self) -> int:
        return SAMPLES if self.split == "train" else HELD_OUT

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, target = example(index, self.split)
        if self.augment:
            noise = np.random.standard_normal(image.shape)  # the legacy generator, as most augmentation code does
            image, target = augmented(image, target, random.random(), noise, torch.rand(()).item())
        return {"image": torch.from_numpy(image), "target": torch.from_numpy(target), "index": index}


class Watch:
    """Writes down each training step and kills its own process, as a lost machine would, where the cell says so."""

    def __init__(self, folder: Path, attempt: int, stop: str | None) -> None:
        self.log = folder / f"steps-{attempt}.jsonl"
        self.weights = folder / "weights.pt"
        self.stop = stop
        self.batches = 0

    def training(self, step: int, loss: float, samples: list[int]) -> None:
        """Note training step `step`, counted from 1 over the whole run."""
        with self.log.open("a") as log:
            log.write(json.dumps({"step": step, "loss": loss.hex(), "samples": samples}) + "\n")
        if (self.stop, step) in (
            ("mid-epoch", MID_EPOCH),
            ("epoch boundary", BOUNDARY),
            ("stage boundary", BOUNDARY),
        ):
            self._kill()

    def evaluating(self, steps: int) -> None:
        """Note a batch of an evaluation after `steps` training steps."""
        if self.stop == "during evaluation" and steps == MEASURED:
            self.batches += 1
            if self.batches == 2:
                self._kill()

    def finish(self, weights: dict[str, Tensor]) -> None:
        """Keep the final weights; `weights` names the network's tensors as `Network` does."""
        torch.save({name: tensor.detach().clone() for name, tensor in weights.items()}, self.weights)

    def _kill(self) -> None:
        time.sleep(0.5)  # a checkpoint that is still being written in the background may land
        os.kill(os.getpid(), signal.SIGKILL)

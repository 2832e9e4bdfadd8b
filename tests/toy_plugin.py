"""A toy world for tests of the engine: a base with an error that an auxiliary signal tells, no stereo anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from engine.contracts import Picture
from engine.hookspecs import hookimpl
from engine.prediction import Batch, Prediction


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BaseOptions(Options):
    """width: channels. dropout, norm: with them. writes_when_frozen: it breaks its promise."""

    width: int = 4
    dropout: float = 0.0
    norm: bool = False
    writes_when_frozen: bool = False


class BoundOptions(Options):
    """bound: largest correction. zero_init: as the contract says. first: what a fresh one corrects by, before tanh."""

    bound: float = 1.0
    zero_init: bool = True
    first: float = 0.0


class DataOptions(Options):
    """count, size: of samples. offset: what the signal tells. split. spoil: a sample to be NaN. noise: in training."""

    count: int = 24
    size: int = 8
    offset: float = 0.6
    split: str = "train"
    spoil: int | None = None
    noise: bool = True


class ToyBase(nn.Module):
    """target ~ image, seen through a small convolution; `fixed` never trains anything but counts as a buffer."""

    def __init__(self, options: BaseOptions) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, options.width, 3, padding=1), nn.ReLU())
        self.norm = nn.BatchNorm2d(options.width) if options.norm else nn.Identity()
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Conv2d(options.width, 1, 1)
        self.register_buffer("calls", torch.zeros(1))
        self.writes = options.writes_when_frozen

    def forward(self, batch: Batch) -> Prediction:
        if self.writes:
            self.calls += 1
        return Prediction(value=self.head(self.dropout(self.norm(self.encoder(batch["image"])))))


class ToyInjection(nn.Module):
    """correction = bound * tanh(a 1x1 layer of the signal)."""

    signal = ("signal",)

    def __init__(self, options: BoundOptions) -> None:
        super().__init__()
        self.bound = options.bound
        self.zero_init = options.zero_init
        self.head = nn.Conv2d(2, 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, options.first)

    def forward(self, batch: Batch, base: Prediction, alignment: torch.Tensor) -> Prediction:
        raw = self.head(torch.cat([batch["signal"], 0 * alignment], dim=1)).float()
        return base.corrected(self.bound * torch.tanh(raw), raw)

    def correctable(self, batch: Batch) -> torch.Tensor:
        return batch["valid"]


class ToyData:
    """The target is the image plus an offset where the signal says so."""

    def __init__(self, options: DataOptions) -> None:
        self.options = options

    def __len__(self) -> int:
        return self.options.count

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        fixed = np.random.default_rng([index, 1 if self.options.split == "train" else 2])
        shape = (1, self.options.size, self.options.size)
        image = fixed.normal(size=shape).astype(np.float32)
        signal = (fixed.random((1, 1, 1)) > 0.5) * np.ones(shape, np.float32)
        target = 0.5 * image + self.options.offset * (2 * signal - 1)
        if rng is not None and self.options.noise:
            image = image + 0.01 * rng.normal(size=shape).astype(np.float32)
        if self.options.spoil == index and rng is not None:
            image = image * np.float32("nan")
        name = f"{self.options.split}-{index}"
        return {
            "image": image.astype(np.float32),
            "signal": signal.astype(np.float32),
            "target": target.astype(np.float32),
            "valid": np.ones(shape, bool),
            "id": name,
            "scene": name,
        }


class ToyLoss:
    def __init__(self, options: Options) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch) -> torch.Tensor:
        return (prediction.value - batch["target"]).square().mean()


class ToyMetric:
    def __init__(self, options: Options) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        error = (prediction.value - batch["target"]).abs().flatten(1)
        return {"error": (error.sum(1), torch.full_like(error[:, 0], error.shape[1]))}


class ToyPictures:
    def __init__(self, options: Options) -> None:
        pass

    def __call__(self, batch: Batch, prediction: Prediction, bound: float | None) -> list[Picture]:
        maps = {"image": batch["image"], "target": batch["target"], "answer": prediction.value}
        if prediction.correction is not None:
            maps["correction"] = prediction.correction
        scale = [("-2", "#000000"), ("2", "#ffffff")]
        return [Picture(name, _grey(value[0, 0]), scale=scale) for name, value in maps.items()]


def _grey(value: torch.Tensor) -> np.ndarray:
    shade = ((value.clamp(-2, 2) + 2) / 4 * 255).round().to(torch.uint8)
    return shade[..., None].expand(*shade.shape, 3).numpy()


@hookimpl
def engine_models(register: Any) -> None:
    register("toy", BaseOptions, ToyBase, target="target")


@hookimpl
def engine_injections(register: Any) -> None:
    register("toy", BoundOptions, ToyInjection)


@hookimpl
def engine_datasets(register: Any) -> None:
    register("toy", DataOptions, ToyData)


@hookimpl
def engine_losses(register: Any) -> None:
    register("square", Options, ToyLoss)


@hookimpl
def engine_pictures(register: Any) -> None:
    register("toy", Options, ToyPictures)


@hookimpl
def engine_metrics(register: Any) -> None:
    register("error", Options, ToyMetric, produces=lambda options: ["error"])

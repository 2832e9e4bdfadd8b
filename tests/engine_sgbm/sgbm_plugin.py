"""Pairs of a random texture shifted by a known disparity, and a correction that any base can have."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from engine.hookspecs import hookimpl
from engine.prediction import Batch, Prediction

SHAPE = 48, 96


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PairOptions(Options):
    count: int = 6
    shift: int = 6
    first: int = 0


class Pairs:
    """The left half shows a surface at `shift` px, the right half one at twice that, so that something is occluded."""

    def __init__(self, options: PairOptions) -> None:
        self.options = options

    def __len__(self) -> int:
        return self.options.count

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        index += self.options.first
        height, width = SHAPE
        right = np.random.default_rng(index).uniform(0, 255, (height, 2 * width)).astype(np.float32)
        disparity = np.full((height, width), self.options.shift, np.int64)
        disparity[:, width // 2 :] *= 2
        columns = np.arange(width) - disparity + width // 2
        left = np.take_along_axis(right, columns, axis=1)
        pair = {"left": left, "right": right[:, width // 2 : width // 2 + width]}
        return {name: np.repeat(view[None], 3, axis=0) for name, view in pair.items()} | {
            "disparity": disparity[None].astype(np.float32),
            "valid": np.ones((1, height, width), bool),
            "hint": np.full((1, height, width), 0.5, np.float32),
            "id": f"pair-{index}",
            "scene": f"pair-{index}",
        }


class Offset(nn.Module):
    """correction = tanh(weight * hint)."""

    signal = ("hint",)
    bound = 1.0
    zero_init = True

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        raw = self.weight * batch["hint"]
        return base.corrected(self.bound * torch.tanh(raw), raw)

    def correctable(self, batch: Batch) -> Tensor:
        valid: Tensor = batch["valid"]
        return valid


@hookimpl
def engine_datasets(register: Any) -> None:
    register("pairs", PairOptions, Pairs)


@hookimpl
def engine_injections(register: Any) -> None:
    register("offset", Options, Offset)

"""How a step looks at a batch: its precision, and which value aligns the auxiliary signal."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch

from engine.recipe.schema import Stage
from engine.system import Warp

F = TypeVar("F", bound=Callable[..., Any])
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The stage's precision: bf16 or fp16 where torch deems it safe, or float32 throughout."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, PRECISIONS[precision])


def in_precision(function: F, device: torch.device, precision: str) -> F:
    """The function made to run in a precision; in float32 it is the function itself, and no call pays for a context."""
    return function if precision == "fp32" else torch.autocast(device.type, PRECISIONS[precision])(function)


def draw_warp(seed: int, stage: Stage, step: int) -> Warp:
    """Which value aligns the auxiliary signal in this step: the same in every process, and on resuming."""
    if stage.warp is None:
        return "pred"
    share = stage.warp.gt_share(step / max(stage.steps - 1, 1))
    if share in (0.0, 1.0):
        return "gt" if share else "pred"
    return "gt" if random.Random(f"{seed}/{stage.name}/{step}").random() < share else "pred"

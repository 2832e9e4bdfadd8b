"""A system's answer as a tuple of tensors, and such a tuple as an answer of the engine's again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.prediction import Prediction

PARTS = ("value", "confidence", "visibility")
"""What is handed out of a prediction, where a system answers with it."""


def parts_of(prediction: Prediction) -> list[str]:
    """Those of `PARTS` that a prediction has."""
    return [name for name in PARTS if getattr(prediction, name) is not None]


class Plain(nn.Module):
    """A system whose inputs are tensors in the order of `fields`, and whose answer is the tensors `parts`."""

    def __init__(self, system: nn.Module, fields: Sequence[str], parts: Sequence[str], inject: bool) -> None:
        super().__init__()
        self.system, self.fields, self.parts, self.inject = system, list(fields), list(parts), inject

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The parts of the answer, value first: (B, 1, H, W) in the target's units."""
        prediction = self.system(dict(zip(self.fields, inputs, strict=True)), inject=self.inject)
        return tuple(getattr(prediction, name) for name in self.parts)


def plain_answer(plain: Plain, batch: dict[str, Any]) -> list[Tensor]:
    """What torch answers to a batch, on the CPU."""
    with torch.no_grad():
        return [each.cpu() for each in plain(*(batch[name] for name in plain.fields))]

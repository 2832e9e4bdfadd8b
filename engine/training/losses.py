"""The weighted sum of a stage's losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.contracts import Loss
from engine.errors import PluginError
from engine.prediction import Batch, Prediction
from engine.reading import reading


class WeightedLosses:
    """Losses by name with their weights; every term is reported as it enters the sum."""

    def __init__(self, losses: Sequence[tuple[str, float, Loss]]) -> None:
        self.losses = losses
        self.names = [name for name, _, _ in losses]

    def __call__(self, prediction: Prediction, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum, and its terms stacked in the order of `names`, detached; PluginError when a loss is no scalar."""
        terms = []
        for name, weight, loss in self.losses:
            with reading(f"the loss {name}"):
                term = loss(prediction, batch)
                if term.ndim != 0:
                    raise PluginError(f"loss '{name}' returned shape {tuple(term.shape)}; a loss is a scalar")
                terms.append(weight * term)
        stacked = torch.stack(terms)
        return stacked.sum(), stacked.detach()

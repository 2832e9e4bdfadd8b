"""The weighted sum of a stage's losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.contracts import Loss
from engine.errors import PluginError
from engine.prediction import Batch, Prediction
from engine.reading import reading

NO_GRADIENT = "it is computed without the prediction, from a detached part of it, or from what this stage freezes"


class WeightedLosses:
    """Losses by name with their weights; every term is reported as it enters the sum.

    readers: the losses by what messages call them.
    """

    def __init__(self, losses: Sequence[tuple[str, float, Loss]]) -> None:
        self._losses = [(name, weight, loss, reading(f"the loss {name}")) for name, weight, loss in losses]
        self.names = [name for name, _, _ in losses]
        self.readers = {f"the loss {name}": loss for name, _, loss in losses}

    def __call__(self, prediction: Prediction, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """The sum, and its terms in the order of `names`.

        Raises PluginError when a loss is no scalar, or when none has a gradient while gradients are wanted.
        """
        terms = []
        for name, weight, loss, reads in self._losses:
            with reads:
                term = loss(prediction, batch)
            if not isinstance(term, Tensor) or term.ndim != 0:
                found = f"shape {tuple(term.shape)}" if isinstance(term, Tensor) else f"a {type(term).__name__}"
                raise PluginError(f"loss '{name}' returned {found}; a loss is a scalar tensor")
            terms.append(term if weight == 1 else weight * term)
        total = terms[0] if len(terms) == 1 else torch.stack(terms).sum()
        if not total.requires_grad and torch.is_grad_enabled():
            raise PluginError(f"loss '{', '.join(self.names)}' has no gradient: {NO_GRADIENT}")
        return total, terms

    def without_gradient(self, terms: Sequence[Tensor]) -> list[str]:
        """The losses whose terms are constants to the optimiser."""
        return [name for name, term in zip(self.names, terms, strict=True) if not term.requires_grad]

"""Base and injection together: the module that stages train and globs name."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from engine.contracts import Injection
from engine.errors import PluginError
from engine.prediction import Batch, Prediction
from engine.reading import ABLATED, Fields, fields_of, reading

Warp = Literal["gt", "pred"]


class System(nn.Module):
    """A base model and, where the recipe has one, the auxiliary module that corrects it.

    Children are `base` and `injection`, so globs read `base.encoder.**` and `injection.**`. `target` names the batch
    field that the system learns, (B, C, H, W). `names` are what messages call the two.
    """

    base: nn.Module
    injection: nn.Module | None
    target: str
    base_trains: bool

    def __init__(
        self, base: nn.Module, injection: nn.Module | None, target: str, names: tuple[str, str] | None = None
    ) -> None:
        super().__init__()
        self.names = names or (f"the model {type(base).__name__}", f"the injection {type(injection).__name__}")
        self.base = base
        self.injection = injection
        self.target = target
        # Set by the freeze, once a stage: walking the parameters costs more than a step's bookkeeping.
        self.base_trains = True

    def forward(self, batch: Batch, warp: Warp = "pred", inject: bool = True) -> Prediction:
        """The base's prediction, corrected when `inject` is set; `warp` chooses what aligns the auxiliary signal."""
        with torch.set_grad_enabled(self.base_trains and torch.is_grad_enabled()):
            base = _answer(self.names[0], self.base, batch)
        if self.injection is None or not inject:
            return base
        with reading(f'warp = "gt" of {self.names[0]}'):
            alignment = batch[self.target] if warp == "gt" else base.value.detach()
        seen = batch
        if ABLATED in batch:
            seen = fields_of({**batch, **batch[ABLATED]}, batch.source if isinstance(batch, Fields) else Fields.source)
        return _answer(self.names[1], self.injection, seen, base, alignment)

    @property
    def corrector(self) -> Injection | None:
        """The injection seen through its contract (bound, signal, correctable)."""
        injection: Injection | None = self.injection  # type: ignore[assignment]  # nn.Module hides the protocol's attributes
        return injection


def _answer(name: str, module: nn.Module, *inputs: Any) -> Prediction:
    with reading(name):
        answer = module(*inputs)
    if not isinstance(answer, Prediction):
        raise PluginError(f"{name} answered with a {type(answer).__name__}; expected a Prediction")
    return answer

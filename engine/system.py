"""Base and injection together: the module that stages train and globs name."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from engine.contracts import Injection
from engine.declared import LeftOut, without_undeclared
from engine.errors import PluginError
from engine.prediction import Batch, Prediction
from engine.reading import ABLATED, FROZEN, Fields, fields_like, reading

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
        """The base's prediction, corrected when `inject` is set; `warp` chooses what aligns the auxiliary signal.

        A batch that brings what the base answers to it (`FROZEN`) leaves the base unasked.
        """
        with torch.set_grad_enabled(self.base_trains and torch.is_grad_enabled()):
            kept = batch.get(FROZEN)
            if kept:
                base = without_undeclared(kept, batch.left_out if isinstance(batch, Fields) else ())
            else:
                base = _answer(self.names[0], self.base, self.target, batch)
        if self.injection is None or not inject:
            return base
        with reading(f'warp = "gt" of {self.names[0]}'):
            alignment = batch[self.target] if warp == "gt" else base.value.detach()
        seen = batch
        if ABLATED in batch:
            seen = fields_like({**batch, **batch[ABLATED]}, batch)
        return _answer(self.names[1], self.injection, self.target, seen, base, alignment)

    @property
    def corrector(self) -> Injection | None:
        """The injection seen through its contract (bound, signal, correctable)."""
        injection: Injection | None = self.injection  # type: ignore[assignment]  # nn.Module hides the protocol's attributes
        return injection


def _answer(name: str, module: nn.Module, target: str, batch: Batch, *more: Any) -> Prediction:
    with reading(name):
        answer = module(batch, *more)
    if not isinstance(answer, Prediction):
        raise PluginError(f"{name} answered with a {type(answer).__name__}; expected a Prediction")
    _check_shapes(name, answer, target, batch)
    return answer


def _check_shapes(name: str, answer: Prediction, target: str, batch: Batch) -> None:
    """PluginError for a tensor of another shape than agreed: broadcasting would hide it, or a loss be blamed."""
    value = getattr(answer.value, "shape", None)
    expected = getattr(batch.get(target), "shape", value)  # a batch without the target is one that nothing learns from
    if value is None or value != expected:
        source = batch.source if isinstance(batch, Fields) else Fields.source
        of = f"the shape of '{target}' in {source}, {tuple(expected)}" if expected else "a tensor (B, C, H, W)"
        raise PluginError(f"{name} answered with a value of {_shape(answer.value)}; expected {of}")
    pixels = (value[0], 1, *value[2:])
    for part, shape in (("correction", value), ("raw", value), ("confidence", pixels), ("visibility", pixels)):
        found = getattr(answer, part)
        if found is None or isinstance(found, LeftOut):
            continue
        if getattr(found, "shape", None) != shape:
            raise PluginError(f"{name} answered with a {part} of {_shape(found)}; expected shape {tuple(shape)}")


def _shape(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"

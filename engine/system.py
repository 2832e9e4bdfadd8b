"""Base and injection together: the module that stages train and globs name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engine.contracts import Injection
from engine.declared import LeftOut, without_undeclared
from engine.errors import PluginError
from engine.prediction import Batch, Prediction
from engine.reading import ABLATED, FROZEN, Fields, fields_like, reading
from engine.registered import guarded

Warp = Literal["gt", "pred"]

PARTS = (("correction", None), ("raw", None), ("confidence", 1), ("visibility", 1))
"""What a prediction may hold beside its value, and its number of channels; None: as many as the value."""


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
        self._reads = reading(self.names[0]), reading(self.names[1])
        self.base = base
        self.injection = injection
        self.target = target
        # Set by the freeze, once a stage: walking the parameters costs more than a step's bookkeeping.
        self.base_trains = True

    def forward(self, batch: Batch, warp: Warp = "pred", inject: bool = True) -> Prediction:
        """The base's prediction, corrected when `inject` is set; `warp` chooses what aligns the auxiliary signal.

        A batch that brings what the base answers to it (`FROZEN`) leaves the base unasked.
        """
        parts = self._modules  # what torch searches for `self.base` at each step
        if kept := batch.get(FROZEN):
            base = without_undeclared(kept, batch.left_out if isinstance(batch, Fields) else ())
        elif self.base_trains:
            base = self._answer(0, parts["base"], batch)
        else:
            with torch.no_grad():
                base = self._answer(0, parts["base"], batch)
        injection = parts.get("injection")  # None is no module, and not among them
        if not inject or injection is None:
            return base
        return self.correct(batch, base, warp)

    def correct(self, batch: Batch, base: Prediction, warp: Warp) -> Prediction:
        """What the injection, which there must be, makes of the base's answer to a batch."""
        with reading(f'warp = "gt" of {self.names[0]}'):
            alignment = batch[self.target] if warp == "gt" else base.value.detach()
        seen = batch
        if ABLATED in batch:
            seen = fields_like({**batch, **batch[ABLATED]}, batch)
        return self._answer(1, self._modules["injection"], seen, base, alignment)

    def _answer(self, which: int, module: Any, batch: Batch, *more: Any) -> Prediction:
        with self._reads[which]:
            answer = module(batch, *more)
        if not isinstance(answer, Prediction):
            raise PluginError(f"{self.names[which]} answered with a {type(answer).__name__}; expected a Prediction")
        _check_shapes(self.names[which], answer, self.target, batch)
        return answer

    @property
    def traits(self) -> Mapping[str, str]:
        """What the base's weights are good for beside its architecture, as it says itself; PluginError for no table."""
        with guarded(f"the traits of {self.names[0]} are no table of texts"):
            return {name: str(value) for name, value in getattr(self.base, "traits", {}).items()}

    @property
    def corrector(self) -> Injection | None:
        """The injection seen through its contract (bound, signal, correctable)."""
        injection: Injection | None = self.injection  # type: ignore[assignment]  # nn.Module hides the protocol's attributes
        return injection


def _check_shapes(name: str, answer: Prediction, target: str, batch: Batch) -> None:
    """PluginError for a tensor of another shape than agreed: broadcasting would hide it, or a loss be blamed."""
    value = getattr(answer.value, "shape", None)
    expected = getattr(batch.get(target), "shape", value)  # a batch without the target is one that nothing learns from
    if value is None or value != expected:
        source = batch.source if isinstance(batch, Fields) else Fields.source
        of = f"the shape of '{target}' in {source}, {tuple(expected)}" if expected else "a tensor (B, C, H, W)"
        raise PluginError(f"{name} answered with a value of {_shape(answer.value)}; expected {of}")
    for part, channels in PARTS:
        found = getattr(answer, part)
        if found is None or isinstance(found, LeftOut):
            continue
        shape = value if channels is None else (value[0], channels, *value[2:])
        if getattr(found, "shape", None) != shape:
            raise PluginError(f"{name} answered with a {part} of {_shape(found)}; expected shape {tuple(shape)}")


def _shape(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"

"""The fields that injection and losses declare, and a base's answer that has no others.

A declaration is the attribute `reads`: names of batch fields, and "base.value", "base.confidence",
"base.intermediates", "base.features.NAME" for parts of the base's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from engine.errors import PluginError
from engine.prediction import Prediction
from engine.reading import UndeclaredFieldError, fields_of

BASE = "base."
"""What precedes the name of a part of the base's answer."""

ALWAYS = frozenset({"id", "scene", "valid", "base.value"})
"""What the engine reads itself, beside the target."""


def declared(readers: Mapping[str, object], target: str) -> tuple[frozenset[str] | None, list[str]]:
    """The fields that all of `readers` (name in messages -> object) read, and the names of those that do not say.

    The fields are None where one does not say. PluginError for a `reads` that is no list of names.
    """
    reads, silent = set(ALWAYS | {target}), []
    for name, reader in readers.items():
        own = getattr(reader, "reads", None)
        if own is None:
            silent.append(name)
        elif isinstance(own, str) or not all(isinstance(field, str) for field in own):
            raise PluginError(f"{name} declares `reads = {own!r}`; expected a list of names")
        else:
            reads |= set(own)
    return None if silent else frozenset(reads), silent


def is_declared(field: str, reads: frozenset[str] | None) -> bool:
    """Whether a field is among `reads`, by itself or within a declared group such as "base.intermediates"."""
    return reads is None or field in reads or any(field.startswith(f"{group}.") for group in reads)


def without_undeclared(kept: Mapping[str, Tensor], left_out: Iterable[str]) -> Prediction:
    """The prediction whose tensors are `kept`; whoever touches a part in `left_out` ("base.NAME") is told so."""
    prediction = Prediction.of_tensors(kept)
    missing = [field.removeprefix(BASE) for field in left_out if field.startswith(BASE)]
    for name in missing:
        part = name.partition(".")[0]
        if part == "features":
            gone = frozenset(each.removeprefix("features.") for each in missing if each.startswith("features."))
            prediction.features = fields_of(prediction.features, "the base", gone)
        else:
            setattr(prediction, part, LeftOut(f"{BASE}{part}"))
    return prediction


class LeftOut:
    """In the place of a part of the base's answer that was not kept: whatever is done with it says which it was."""

    def __init__(self, field: str) -> None:
        self._field = field

    def __getattr__(self, name: str) -> Any:
        raise UndeclaredFieldError(self._field)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        given = [*args, *(kwargs or {}).values()]
        flat = [each for one in given for each in (one if isinstance(one, list | tuple) else [one])]
        raise UndeclaredFieldError(next(each._field for each in flat if isinstance(each, LeftOut)))


def _raising(self: LeftOut, *arguments: Any) -> Any:
    raise UndeclaredFieldError(self._field)


# Python looks these up on the class, past __getattr__.
_OPERATORS = "iter len bool getitem add radd sub rsub mul rmul truediv rtruediv neg abs lt le gt ge and or invert"
for _name in _OPERATORS.split():
    _method: Callable[..., Any] = _raising
    setattr(LeftOut, f"__{_name}__", _method)

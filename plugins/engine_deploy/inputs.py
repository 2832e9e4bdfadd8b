"""What a system reads of a sample: the inputs that it has outside of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import InputError


class Noted(dict[str, Any]):
    """A batch that remembers which of its fields were read."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.read: list[str] = []

    def _note(self, name: object) -> None:
        if isinstance(name, str) and name not in self.read and super().__contains__(name):
            self.read.append(name)

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The field, noted, or `default`."""
        self._note(name)
        return super().get(name, default)


def inputs_of(system: nn.Module, batch: Mapping[str, Any], inject: bool) -> dict[str, Tensor]:
    """The tensors of a batch that a system reads to answer it, by name, in the order in which it first does.

    The system is asked once. Its target is taken from the batch, since there is none outside of the engine.
    """
    noted = Noted({name: value for name, value in batch.items() if name != system.target})
    with torch.no_grad():
        system(noted, inject=inject)
    return {name: noted[name] for name in list(noted.read) if isinstance(noted[name], Tensor)}


def injects(system: nn.Module, batch: Mapping[str, Any]) -> bool:
    """Whether a system has an injection, and the batch what that needs."""
    injection = system.injection
    return injection is not None and all(name in batch for name in injection.signal)


def of_size(batch: Mapping[str, Any], size: tuple[int, int] | None) -> dict[str, Any]:
    """A batch whose maps (B, C, H, W) are stretched to (height, width), so that a system can be asked at that size.

    Disparities are no longer true afterwards: it is for asking, not for measuring.
    """
    if size is None:
        return dict(batch)
    return {name: _stretched(value, size) if _is_map(value) else value for name, value in batch.items()}


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _stretched(value: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(value.float(), size=size, mode="nearest").to(value.dtype)


def upside_down(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The batch with its rows in the other order, which leaves every match in its row."""
    return {name: value.flip(-2) if _is_map(value) else value for name, value in batch.items()}


def parsed_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of "HxW"; InputError for another text."""
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InputError(f"--size {text} is no size", "height and width in px, as in --size 320x736")
    return int(height), int(width)

"""Functions of a checkout that torch's exporter cannot follow, stood in for while it looks on: same numbers, no test.

Authors test values as they compute: that all rows are one, that no deviation is zero. Where the values are not known
yet, as in a graph that is being recorded, such a test has no answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine_checkouts.isolation import replaced

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures, RGB in 0..1."""


def along_row(row: Tensor, places: Tensor, *_: Any, **__: Any) -> Tensor:
    """(B, C, 1, N) values of `row` (B, C, 1, W) at `places` (B, 1, N, 2), x in px: linear between pixels, 0 outside."""
    across = 2 * places[..., :1] / (row.shape[-1] - 1) - 1
    return F.grid_sample(row, torch.cat([across, torch.zeros_like(across)], -1).to(row.dtype), align_corners=True)


def normalised(image: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in 0..255 as networks want it that were trained on ImageNet."""
    mean, deviation = (image.new_tensor(each).view(1, 3, 1, 1) for each in (MEAN, DEVIATION))
    return (image / 255 - mean) / deviation


STAND_INS = {"along_row": along_row, "normalised": normalised}


class Traced:
    """The functions of a checkout that are stood in for, `places` as in `Preset.traced`; what is not there is left."""

    def __init__(self, modules: Mapping[str, ModuleType], places: Mapping[str, str]) -> None:
        found = [(*place.split(":"), STAND_INS[name]) for place, name in places.items()]
        self._functions = [
            (modules[module], name, function)
            for module, name, function in found
            if module in modules and hasattr(modules[module], name)
        ]

    def __deepcopy__(self, _: object) -> Traced:
        return self  # a copied network runs the code of the same modules

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Stand in for them for a while."""
        with ExitStack() as undo:
            for module, name, function in self._functions:
                undo.enter_context(replaced(module, name, function))
            yield

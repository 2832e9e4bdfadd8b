"""Pictures that are too large to be answered at once: bands of rows, answered one by one and blended where they meet.

A band keeps the whole width, so that what is looked for along a row is never cut off. A model that looks at the whole
picture, or normalises over it, answers a band differently from the same rows of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.errors import InputError, PluginError, Problem
from engine.prediction import Batch, Prediction
from engine.reading import fields_like

PARTS = ("value", "confidence", "visibility", "correction", "raw")


@dataclass(frozen=True)
class Bands:
    """Bands of `rows` rows, each of which shares at least `overlap` with the next one; InputError where they cannot."""

    rows: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.rows:
            what = f"bands of {self.rows} rows cannot share {self.overlap}"
            raise InputError(Problem("--overlap", what, f"at most {self.rows - 1}"))

    def of(self, height: int) -> list[slice]:
        """The bands of a picture, spread evenly so that the last one is as high as the others."""
        if height <= self.rows:
            return [slice(0, height)]
        count = 1 + -(-(height - self.rows) // (self.rows - self.overlap))
        tops = [number * (height - self.rows) // (count - 1) for number in range(count)]
        return [slice(top, top + self.rows) for top in tops]


def in_bands(answer: Callable[[Batch], Prediction], batch: Batch, bands: Bands) -> tuple[Prediction, float | None]:
    """What `answer` says to the bands of a batch, and by how much their values differ in the mean where two overlap.

    Fields (B, C, H, W) of the full height are cut, all others passed on. Where bands overlap, their answers are weighed
    by a ramp, from 0 at a band's edge to 1 at the end of the overlap. Intermediates and features, which have sizes of
    their own, are left out. The difference is in the target's unit, None without an overlap. PluginError for an answer
    of another height than its band.
    """
    height = max((value.shape[-2] for value in batch.values() if _is_picture(value)), default=0)
    places = bands.of(height)
    if len(places) == 1:
        return answer(batch), None
    total: dict[str, Tensor] = {}
    weights = torch.zeros(height, 1)
    differences = []
    for place in places:
        cut = {name: value[:, :, place] if _is_high(value, height) else value for name, value in batch.items()}
        weight = _ramp(place, height, bands.overlap)
        before = weights[place].clone()
        shared = before[:, 0] > 0
        weights[place] += weight
        for name, part in _parts(answer(fields_like(cut, batch))):
            if part.shape[-2] != len(weight):
                raise PluginError(f"the answer to {len(weight)} rows has a {name} of the shape {tuple(part.shape)}")
            if name not in total:
                total[name] = part.new_zeros(*part.shape[:-2], height, part.shape[-1])
            if name == "value":
                above = total[name][..., place, :][..., shared, :] / before[shared].to(part)
                differences.append((above - part[..., shared, :]).abs().flatten())
            total[name][..., place, :] += part * weight.to(part)
    difference = torch.cat(differences)
    seam = float(difference.nanmean()) if len(difference) else None
    return _whole({name: part / weights.to(part) for name, part in total.items()}), seam


def _ramp(place: slice, height: int, overlap: int) -> Tensor:
    """(rows, 1): the weight of each row of a band, below 1 only towards another band."""
    row = torch.arange(place.stop - place.start) + 0.5
    above = row / overlap if place.start > 0 and overlap else torch.ones_like(row)
    below = row.flip(0) / overlap if place.stop < height and overlap else torch.ones_like(row)
    return torch.minimum(above, below).clamp(max=1).unsqueeze(1)


def _is_picture(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _is_high(value: Any, height: int) -> bool:
    return _is_picture(value) and value.shape[-2] == height


def _parts(prediction: Prediction) -> Iterator[tuple[str, Tensor]]:
    for name in PARTS:
        if (part := getattr(prediction, name)) is not None:
            yield name, part
    if prediction.base is not None:
        yield from ((f"base.{name}", part) for name, part in _parts(prediction.base))


def _whole(parts: dict[str, Tensor]) -> Prediction:
    base = {name.removeprefix("base."): part for name, part in parts.items() if name.startswith("base.")}
    own: dict[str, Any] = {name: part for name, part in parts.items() if not name.startswith("base.")}
    return Prediction(**own, base=_whole(base) if base else None)

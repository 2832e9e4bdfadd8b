"""Examples mirrored, turned upside down and out of rectification, with their truth and their polarisation.

A mirror takes an angle of polarisation phi to pi - phi, and so u = S2/S0 to -u; a rotation of the camera by theta turns
(q, u) by 2 theta. Arrays are (C, H, W), x to the right.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contracts import Sample
from engine_stereo.data.reading import is_picture

Array = NDArray[Any]

VIEWS = ("left", "right", "polarization_left", "polarization_right")
"""What the cameras see; every other picture of an example is told of it."""

_MIRRORED = np.array([1, -1], np.float32)[:, None, None]


def mirrored(sample: Sample) -> Sample:
    """The scene in a mirror beside the cameras, which is seen by the right camera from the left.

    So the views change places, `ANY` with `ANY_right`, and disparity keeps its sign and the focal lengths and `doffs`
    their values. A single view is mirrored as it is.
    """
    pair = "right" in sample
    return {
        _twin(name) if pair and is_picture(value) else name: _flipped(name, value, 2) for name, value in sample.items()
    }


def upside_down(sample: Sample) -> Sample:
    """The scene in a mirror below the cameras: rows change places, disparity stays."""
    return {name: _flipped(name, value, 1) for name, value in sample.items()}


def twins_missing(sample: Sample) -> list[str]:
    """Fields that the mirrored pair would need and that are not there."""
    if "right" not in sample:
        return []
    return [twin for name, value in sample.items() if is_picture(value) and (twin := _twin(name)) not in sample]


def without_right_truth(sample: Sample) -> Sample:
    """The example without what is told of its right view, but for its polarisation, which is measured."""
    return {
        name: value for name, value in sample.items() if not name.endswith("_right") or name == "polarization_right"
    }


def displaced(sample: Sample, first: float, last: float) -> Sample:
    """A right camera that is not quite rectified: its picture is `first` px up on the left, `last` on the right.

    In between it is so in part, as when the camera is turned about its axis, and its polarisation turns with it. Rows
    move and columns do not, so that disparity stays true: of a turn this is the part that calibration leaves.
    """
    if "right" not in sample:
        return sample
    height, width = sample["right"].shape[1:]
    place = np.arange(height)[:, None] + np.linspace(first, last, width)
    low = np.floor(place)
    share = (place - low).astype(np.float32)
    upper, lower = (np.clip(low + step, 0, height - 1).astype(np.intp) for step in (0, 1))
    columns = np.arange(width)

    def moved(value: Array) -> Array:
        between: Array = value[:, upper, columns] * (1 - share) + value[:, lower, columns] * share
        return between

    result = {**sample, "right": moved(sample["right"])}
    if "polarization_right" in sample:
        turn = 2 * math.atan2(last - first, max(width - 1, 1))
        q, u = moved(sample["polarization_right"])
        cosine, sine = np.float32(math.cos(turn)), np.float32(math.sin(turn))
        result["polarization_right"] = np.stack([cosine * q - sine * u, sine * q + cosine * u])
    return result


def _flipped(name: str, value: Any, axis: int) -> Any:
    if not is_picture(value):
        return value
    flipped = np.flip(value, axis)
    # multiplied, not negated: both turn 0 into -0, which equals it; np.ascontiguousarray because torch takes no other
    return np.ascontiguousarray(flipped * _MIRRORED if name.startswith("polarization_") else flipped)


def _twin(name: str) -> str:
    """The field that is to the other view what `name` is to its own."""
    named = {"left": "right", "right": "left"}
    if name in named:
        return named[name]
    if name.startswith("polarization_"):
        return f"polarization_{named[name.removeprefix('polarization_')]}"
    return name.removesuffix("_right") if name.endswith("_right") else f"{name}_right"

"""Examples in other colours, through a noisier sensor, and with parts of the right view gone.

Colour is changed in the pictures alone: a gain that all four polarisers share cancels in (S1, S2) / S0, and a curve on
each of them would tell of polarisation that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contracts import Sample
from engine_stereo.data.augment_options import Colour, Erase
from engine_stereo.sensor import display, expose, light, noisy

Array = NDArray[Any]

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, of stored values


@dataclass(frozen=True)
class Look:
    """What becomes of every colour alike: its power `gamma`, then matrix (3, 3) and offset, in stored values 0 to 1."""

    gamma: float
    matrix: Array
    offset: float

    def of(self, picture: Array) -> Array:
        """The picture (3, H, W) in [0, 255] with this look."""
        x = picture / np.float32(255)
        if self.gamma != 1:
            x = x ** np.float32(self.gamma)
        x = np.tensordot(self.matrix.astype(np.float32), x, 1) + np.float32(self.offset)
        seen: Array = 255 * np.clip(x, 0, 1)
        return seen


def coloured(sample: Sample, colour: Colour, rng: np.random.Generator) -> Sample:
    """Both pictures with one look, or each with its own as the option `asymmetric` says; nothing else changes."""
    left = _look(colour, rng)
    right = _look(colour, rng) if rng.random() < colour.asymmetric else left
    return sample | {side: look.of(sample[side]) for side, look in (("left", left), ("right", right)) if side in sample}


def _look(colour: Colour, rng: np.random.Generator) -> Look:
    amounts = (colour.brightness, colour.contrast, colour.saturation)
    brightness, contrast, saturation = (1 + amount * rng.uniform(-1, 1) for amount in amounts)
    turn = 2 * np.pi * colour.hue * rng.uniform(-1, 1)
    gamma = np.exp(rng.uniform(*np.log(colour.gamma)))
    saturated = saturation * np.eye(3) + (1 - saturation) * _LUMA
    return Look(float(gamma), brightness * contrast * _turned(turn) @ saturated, 0.5 * (1 - contrast))


def _turned(angle: float) -> Array:
    """The rotation of colours about grey, by Rodrigues' formula."""
    axis = np.ones(3) / np.sqrt(3)
    cross = np.cross(np.eye(3), axis)
    turned: Array = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)
    return turned


def exposed(sample: Sample, read: float, shot: float, rng: np.random.Generator) -> Sample:
    """What a sensor with this noise would have taken.

    read, shot: as of `sensor.expose`, on the four intensities that picture and polarisation stand for; a view without
    polarisation is one intensity. Where (q, u) is exactly 0 nothing was told of it, and stays untold.
    """
    if read == 0 and shot == 0:
        return sample
    result = dict(sample)
    for side in ("left", "right"):
        if side not in sample:
            continue
        rgb, told = light(sample[side]), sample.get(f"polarization_{side}")
        if told is None:
            rgb = noisy(rgb, read, shot, rng)
        else:
            rgb, measured = expose(rgb, told, read, shot, rng)
            result[f"polarization_{side}"] = np.where(told.any(0), measured, np.float32(0))
        result[side] = display(rgb)
    return result


def erased(sample: Sample, erase: Erase, rng: np.random.Generator) -> Sample:
    """The right view with rectangles in its mean colour, where its polarisation is 0: nothing is told there."""
    if "right" not in sample:
        return sample
    fields = {name: sample[name].copy() for name in ("right", "polarization_right") if name in sample}
    _, height, width = fields["right"].shape
    mean = fields["right"].mean((1, 2), keepdims=True)
    for _ in range(int(rng.integers(1, erase.count + 1))):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        high, wide = (int(rng.integers(erase.size[0], erase.size[1] + 1)) for _ in range(2))
        for name, value in fields.items():
            value[:, top : top + high, left : left + wide] = mean if name == "right" else 0
    return sample | fields

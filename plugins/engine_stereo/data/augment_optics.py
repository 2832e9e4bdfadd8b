"""Examples through a worse lens, and through the files of a camera that compresses what it sees."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contracts import Sample
from engine_stereo.data.augment_options import Blur, Jpeg
from engine_stereo.data.damage import installed_with
from engine_stereo.sensor import display, light

Array = NDArray[Any]

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. 709, of light

_DARK = 1e-3
"""Least light that polarisation is divided by."""


def blurred(sample: Sample, blur: Blur, rng: np.random.Generator) -> Sample:
    """Both views through one Gaussian, or each through its own as the option `asymmetric` says.

    Light is averaged, not its stored values, and of polarisation S1 and S2; where (q, u) is 0 nothing was told of it,
    and stays untold. The truth stays: it is of the scene, and a blurred edge is still where it was.
    """
    left = float(rng.uniform(*blur.sigma))
    right = float(rng.uniform(*blur.sigma)) if rng.random() < blur.asymmetric else left
    result = dict(sample)
    for side, sigma in (("left", left), ("right", right)):
        if side not in sample:
            continue
        rgb = light(sample[side]).astype(np.float32)
        result[side] = display(_gaussian(rgb, sigma))
        vector = sample.get(f"polarization_{side}")
        if vector is not None:
            told = vector.any(0)
            weight = np.tensordot(_LUMA, rgb, 1)[None] * told
            mean = _gaussian(weight * vector, sigma) / np.maximum(_gaussian(weight, sigma), np.float32(_DARK))
            result[f"polarization_{side}"] = np.where(told, mean, np.float32(0))
    return result


def compressed(sample: Sample, jpeg: Jpeg, rng: np.random.Generator) -> Sample:
    """Each picture with the losses of a JPEG of a quality of its own."""
    least, most = jpeg.quality
    return sample | {
        side: _through_jpeg(sample[side], int(rng.integers(least, most + 1)))
        for side in ("left", "right")
        if side in sample
    }


def _gaussian(planes: Array, sigma: float) -> Array:
    """The same planes (C, H, W) float32, each pixel a weighted mean of its neighbours; edges are repeated."""
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (1, 2):
        size = planes.shape[axis]
        padded = np.pad(planes, [(reach, reach) if each == axis else (0, 0) for each in range(3)], mode="edge")
        planes = sum(weight * padded.take(range(at, at + size), axis) for at, weight in enumerate(weights))
    return planes


def _through_jpeg(picture: Array, quality: int) -> NDArray[np.float32]:
    try:
        from PIL import Image
    except ImportError as error:
        raise installed_with("stereo", "pictures are compressed with Pillow", error) from error

    stored = np.clip(np.rint(picture), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    file = BytesIO()
    Image.fromarray(stored).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        return np.ascontiguousarray(np.asarray(read, np.float32).transpose(2, 0, 1))

"""A made-up pair whose truth is exact: textured layers at whole disparities, seen by both cameras."""

from __future__ import annotations

from typing import Any

import numpy as np


def pair(seed: int = 0, height: int = 16, width: int = 40, back: int = 4, front: int = 8) -> dict[str, Any]:
    """A sample with the truth of both views; the front layer is a rectangle before the back one."""
    random = np.random.default_rng(seed)
    texture = {layer: random.uniform(20, 230, (3, height, width + front)) for layer in ("back", "front")}
    turns = {layer: random.uniform(-0.7, 0.7, (2, height, width + front)) for layer in ("back", "front")}
    rows, columns = np.mgrid[:height, : width + front]
    is_front = (rows > 3) & (rows < 12) & (columns > 14) & (columns < 26)

    def seen(layers: dict[str, np.ndarray], shift_back: int, shift_front: int) -> np.ndarray:
        there = is_front[:, shift_front:][:, :width]
        parts = (layers["front"][:, :, shift_front:][:, :, :width], layers["back"][:, :, shift_back:][:, :, :width])
        return np.where(there, *parts).astype(np.float32)

    front_left, front_right = is_front[:, :width], is_front[:, front:]
    left, right = (np.where(there, front, back).astype(np.float32)[None] for there in (front_left, front_right))
    return {
        "left": seen(texture, 0, 0),
        "right": seen(texture, back, front),
        "polarization_left": seen(turns, 0, 0),
        "polarization_right": seen(turns, back, front),
        "disparity": left,
        "disparity_right": right,
        "valid": np.ones((1, height, width), bool),
        "valid_right": np.ones((1, height, width), bool),
        "occluded": ~_matches(left, right, -1),
        "occluded_right": ~_matches(right, left, 1),
        "focal": np.float32(100),
        "baseline": np.float32(0.1),
        "doffs": np.float32(3),
        "id": "one",
        "scene": "room",
    }


def _matches(own: np.ndarray, other: np.ndarray, direction: int) -> np.ndarray:
    """Where the other view's pixel at x + direction * own disparity has the same disparity."""
    _, rows, columns = np.indices(own.shape)
    there = columns + direction * own.astype(int)
    inside = (there >= 0) & (there < own.shape[2])
    return inside & (other[0, rows, np.clip(there, 0, own.shape[2] - 1)] == own)


def warped(sample: dict[str, Any], field: str = "right") -> tuple[np.ndarray, np.ndarray]:
    """The right view's field at x - disparity, whole px, and (H, W) where that is inside and seen by both."""
    disparity = sample["disparity"][0]
    whole = np.rint(disparity).astype(int)
    assert np.allclose(whole, disparity, atol=1e-4)
    rows, columns = np.indices(disparity.shape)
    there = columns - whole
    both = sample["valid"][0] & ~sample["occluded"][0] & (there >= 0)
    return sample[field][:, rows, np.clip(there, 0, None)], both

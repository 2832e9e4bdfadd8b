"""A disparity map and a calibration as points in space, and points as a PLY file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 1.0
"""px from the horizon; below it, half a pixel of error moves a point to between 2/3 and twice its distance."""


def points(
    disparity: NDArray[Any], focal: float, baseline: float, doffs: float, centre: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Points (H, W, 3) in m, x right, y down, z ahead of the left camera, and (H, W) bool where they are told.

    disparity (H, W) px; Z = focal * baseline / (disparity + doffs). They are 0 where they are not told: beyond `LEAST`.
    """
    height, width = disparity.shape
    shift = disparity.astype(np.float64) + doffs
    told = np.isfinite(shift) & (shift >= LEAST)
    depth = np.where(told, focal * baseline / np.where(told, shift, 1.0), 0.0)
    x = (np.arange(width) - centre[0]) * depth / focal
    y = (np.arange(height)[:, None] - centre[1]) * depth / focal
    return np.stack([x, y, depth], axis=-1).astype(np.float32), told


def write_ply(path: Path, place: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
    """Write points (N, 3) with colours (N, 3) RGB as binary PLY, little endian."""
    fields = [(name, "<f4", "float") for name in "xyz"] + [(name, "u1", "uchar") for name in ("red", "green", "blue")]
    vertices = np.empty(len(place), np.dtype([(name, kind) for name, kind, _ in fields]))
    for number, (name, _, _) in enumerate(fields):
        vertices[name] = place[:, number] if number < 3 else colour[:, number - 3]
    properties = "".join(f"property {kind} {name}\n" for name, _, kind in fields)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(place)}\n{properties}end_header\n"
    path.write_bytes(header.encode() + vertices.tobytes())

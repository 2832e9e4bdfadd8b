"""Made-up pairs whose truth is known: random textures, seen by two cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from engine_stereo.data.encodings import PRESETS, write_disparity
from engine_stereo.data.images import write_image, write_png
from numpy.typing import NDArray

Array = NDArray[np.floating]


def texture(rng: np.random.Generator, height: int, width: int, grain: int = 2) -> Array:
    """(H, W) in [0, 1]: noise whose grains are a few pixels large."""
    coarse = rng.random((height // grain + 2, width // grain + 2))
    rows, columns = (np.arange(size) / grain for size in (height, width))
    top, left = rows.astype(int), columns.astype(int)
    down, along = (rows - top)[:, None], columns - left
    above = coarse[top][:, left] * (1 - along) + coarse[top][:, left + 1] * along
    below = coarse[top + 1][:, left] * (1 - along) + coarse[top + 1][:, left + 1] * along
    return above * (1 - down) + below * down


def seen_from_left(right: Array, disparity: Array) -> tuple[Array, NDArray[np.bool_]]:
    """What the left camera sees of a picture (..., H, W) of the right one, and where the right one sees it too."""
    width = disparity.shape[-1]
    place = np.arange(width) - disparity
    inside = (place >= 0) & (place <= width - 1)
    place = place.clip(0, width - 1)
    lower = place.astype(int).clip(max=width - 2)
    picked = [np.take_along_axis(right, np.broadcast_to(lower + step, right.shape), -1) for step in (0, 1)]
    return picked[0] + (place - lower) * (picked[1] - picked[0]), inside


def ramp(height: int, width: int, low: float, high: float) -> Array:
    """(H, W) px: a floor, near at the bottom, that also slants to one side."""
    down, along = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)
    return low + (high - low) * (0.7 * down + 0.3 * along)


def pair(seed: int = 0, height: int = 96, width: int = 160, low: float = 4.0, high: float = 14.0) -> dict[str, Array]:
    """left, right (3, H, W) in [0, 255], disparity (H, W), valid, and (q, u) (2, H, W) of both views."""
    rng = np.random.default_rng(seed)
    disparity = ramp(height, width, low, high)
    right = np.stack([20 + 215 * texture(rng, height, width)] * 3)
    left, valid = seen_from_left(right, disparity)
    angle, size = np.pi * texture(rng, height, width, 8), 0.05 + 0.4 * texture(rng, height, width, 8)
    vector = np.stack([size * np.cos(2 * angle), size * np.sin(2 * angle)])
    return {
        "left": left,
        "right": right,
        "disparity": disparity,
        "valid": valid,
        "polarization_left": seen_from_left(vector, disparity)[0],
        "polarization_right": vector,
    }


ORDER = (0, 45, 90, 135)


def write_pair(folder: Path, name: str, made: dict[str, Array], order: tuple[int, ...] = ORDER) -> None:
    """The pair as files: l/, r/, d/, and pl/, pr/ with the picture behind each polariser; order: the files' names."""
    for part in ("l", "r", "d", "pl", "pr"):
        (folder / part).mkdir(exist_ok=True)
    write_image(folder / "l" / f"{name}.png", made["left"])
    write_image(folder / "r" / f"{name}.png", made["right"])
    write_disparity(folder / "d" / f"{name}.pfm", made["disparity"].astype(np.float32), made["valid"], PRESETS["eth3d"])
    for side in ("left", "right"):
        light = made[side].mean(0) / 255 * 0.6 + 0.1
        q, u = made[f"polarization_{side}"]
        for angle, named in zip(ORDER, order, strict=True):
            turned = 2 * np.radians(angle)
            behind = light / 2 * (1 + q * np.cos(turned) + u * np.sin(turned))
            write_png(folder / f"p{side[0]}" / f"{name}_{named}.png", np.rint(behind * 65535).astype(np.uint16))


PLAIN = 'left = "l/*.png"\nright = "r/*.png"\ndisparity = "d/*.pfm"\n'
POLARISED = PLAIN + (
    'polarization_layout = "angles"\n'
    + "".join(
        f"polarization_{side} = [{', '.join(f'{chr(34)}p{side[0]}/*_{angle}.png{chr(34)}' for angle in ORDER)}]\n"
        for side in ("left", "right")
    )
)

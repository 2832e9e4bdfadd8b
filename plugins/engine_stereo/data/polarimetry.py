"""Linear polarisation from files, in each layout that cameras and data sets store it in.

The result is (q, u) = (S1, S2) / S0 with the angle counted counter-clockwise from the picture's x axis, y up, which can
be interpolated and warped; the angle of polarisation itself cannot. Colour is taken together as luminance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine_stereo.data.damage import whole
from engine_stereo.data.frames import Layout
from engine_stereo.data.images import read_raw
from engine_stereo.data.options import PolarimetryOptions

Array = NDArray[Any]
Real = NDArray[np.float32]
Side = Literal["left", "right"]

ANGLES = (0, 45, 90, 135)
"""Degrees of the polariser, in the order of every axis of four."""

# Below, the noise of the sensor is the signal; above, the sensor is full and the four angles no longer agree.
_DARK, _CLIPPED = 50 / 65535, 65000 / 65535
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear red, green and blue, ITU-R BT.709

# What lies behind each pixel of a cell, row by row: Sony IMX250MZR, and IMX250MYR with its Bayer pattern of blocks.
_BLOCK = ((90, 45), (135, 0))
_BAYER = ((0, 1), (1, 2))


class Redundancy(NamedTuple):
    """mean |difference of two sums| / mean S0 for each way to pair four pictures; the right way is the smallest."""

    as_stated: float
    """|I0 + I90 - I45 - I135|: the pictures are what they are said to be, or 0 and 90 (45 and 135) are exchanged.

    Nor does a mosaic that was cut at an odd row or column show here: its pairs stay pairs.
    """
    pairs_0_45: float
    """|I0 + I45 - I90 - I135|: small where 45 and 90 are exchanged, or 0 and 135."""
    pairs_0_135: float
    """|I0 + I135 - I45 - I90|: small where 90 and 135 are exchanged, or 0 and 45."""


def redundancy(i0: Array, i45: Array, i90: Array, i135: Array, told: NDArray[np.bool_] | None = None) -> Redundancy:
    """How well four pictures of one size agree, paired as stated and in the two other ways.

    Four angles measure three numbers, so I0 + I90 = I45 + I135 = S0. `told`: the pixels to use, without dark and
    clipped ones. ValueError where no light is left to judge.
    """
    zero, quarter, half, three = (
        np.asarray(each, np.float64)[... if told is None else told] for each in (i0, i45, i90, i135)
    )
    light = (zero + quarter + half + three).sum() / 2
    if not light > 0:
        raise ValueError("no pixel with light is left to compare the four angles")
    sums = (zero + half - quarter - three, zero + quarter - half - three, zero + three - quarter - half)
    return Redundancy(*(float(np.abs(each).sum() / light) for each in sums))


@dataclass(frozen=True)
class Intensities:
    """What four polarisers let through of one view.

    planes: (4, C, H, W) float32 in the order of ANGLES, linear in light, 1 = the sensor is full; C is 1 or 3 (RGB).
    told: (H, W) bool, where none of them is dark or clipped.
    """

    planes: Real
    told: NDArray[np.bool_]

    def luminance(self) -> Real:
        """(4, H, W) in the order of ANGLES."""
        if self.planes.shape[1] == 1:
            return self.planes[:, 0]
        return np.tensordot(self.planes, _LUMINANCE, (1, 0)).astype(np.float32)

    def picture(self) -> Real:
        """The view without its polarisation: the mean over the angles as sRGB, (3, H, W) float32 in [0, 255]."""
        light = self.planes.mean(0)
        curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
        return np.ascontiguousarray(np.broadcast_to(255 * curve, (3, *light.shape[1:])), np.float32)

    def redundancy(self) -> Redundancy:
        """Of the luminance, where it is told. ValueError where that is nowhere."""
        return redundancy(*self.luminance(), self.told)


def read(
    layout: Layout, files: Sequence[Path], options: PolarimetryOptions | None = None, side: Side = "left"
) -> tuple[Real, NDArray[np.bool_]]:
    """(q, u) (2, H, W) float32 of one view, and (H, W) bool where they are told; they are 0 elsewhere.

    DamagedDataError for files that are not what `layout` says, WorldError for one that is not there.
    """
    options = options or PolarimetryOptions()
    if layout == "dolp_aolp":
        vector, told = _dolp_aolp(files[0])
    else:
        found = intensities(layout, files, options)
        i0, i45, i90, i135 = found.luminance()
        light = np.where(found.told, (i0 + i45 + i90 + i135) / 2, 1)
        vector, told = np.stack([i0 - i90, i45 - i135]) / light, found.told
    degrees, rectification = {
        "left": (options.angle_left, options.rectification_left),
        "right": (options.angle_right, options.rectification_right),
    }[side]
    oriented_vector = oriented(vector, options.angle_sign, turn_of(degrees, rectification))
    return np.where(told, oriented_vector, np.float32(0)), told


def intensities(layout: Layout, files: Sequence[Path], options: PolarimetryOptions | None = None) -> Intensities:
    """The four intensities of one view, in every layout but 'dolp_aolp', which has none (ValueError).

    A mosaic is decimated or interpolated as `options` say. Errors of files as in `read`.
    """
    options = options or PolarimetryOptions()
    if layout == "dolp_aolp":
        raise ValueError("files of DoLP and AoLP hold no intensities")
    if layout == "angles":
        stored = [_channels_first(_scaled(path, options.white), path) for path in files]
        for path, planes in zip(files, stored, strict=True):
            with whole("polarization", path):
                if planes.shape != stored[0].shape:
                    raise ValueError(f"it has the shape {planes.shape}, and {files[0].name} has {stored[0].shape}")
        return _judged(np.stack(stored))
    raw = _scaled(files[0], options.white)
    with whole("polarization", files[0]):
        if layout == "tiles":
            return _judged(_tiles(_channels_first(raw, files[0])))
        if raw.ndim != 2:
            raise ValueError(f"it has {raw.shape[2]} channels; a mosaic has one")
        cell = 2 if layout == "dofp_mono" else 4
        if raw.shape[0] % cell or raw.shape[1] % cell:
            raise ValueError(f"it is {raw.shape[1]} x {raw.shape[0]} px, no whole number of {cell} x {cell} cells")
        sampled = _decimated if options.mosaic == "decimate" else _interpolated
        unfit = sampled(((raw < _DARK) | (raw > _CLIPPED)).astype(np.float32), cell)
        return Intensities(sampled(raw, cell), ~(unfit > 0).any((0, 1)))


def oriented(vector: Array, sign: int = 1, turn: float = 0.0) -> Real:
    """(q, u) (2, H, W) of a camera whose angles count by `sign` and begin at `turn`, from the picture's x axis.

    sign: 1 counter-clockwise, -1 clockwise (u changes its sign). turn: radians counter-clockwise; R(2 turn) (q, u).
    """
    cosine, sine = math.cos(2 * turn), math.sin(2 * turn)
    q, u = vector[0], sign * vector[1]
    return np.stack([cosine * q - sine * u, sine * q + cosine * u]).astype(np.float32)


def turn_of(degrees: float, rectification: Sequence[Sequence[float]] | None = None) -> float:
    """Radians from a picture's x axis to where the polariser's 0 lies: the camera's own angle and rectification's.

    degrees: counter-clockwise, of the camera before rectification. rectification: the rotation (3 x 3, x right, y down)
    from the camera to the rectified one, which is R1 and R2 of OpenCV's stereoRectify; its part about the optical axis
    turns the picture.
    """
    turn = math.radians(degrees)
    if rectification is None:
        return turn
    # The optical axis goes to column 2 and a step along x to column 0; projected, that step is (R11, -R01), y down.
    return turn + math.atan2(rectification[0][1], rectification[1][1])


def _scaled(path: Path, white: int | None) -> Real:
    """The stored numbers as shares of a full sensor."""
    raw = read_raw(path, "polarization")
    with whole("polarization", path):
        if raw.dtype.kind != "u":
            raise ValueError(f"it holds {raw.dtype}; intensities are whole numbers of 8 or 16 bits")
        return raw.astype(np.float32) / np.float32(white or np.iinfo(raw.dtype).max)


def _channels_first(raw: Real, path: Path) -> Real:
    with whole("polarization", path):
        if raw.ndim == 2:
            return raw[None]
        if raw.shape[2] < 3:
            raise ValueError(f"it has {raw.shape[2]} channels; intensities have 1, or 3 of colour")
        return raw[..., :3].transpose(2, 0, 1)


def _judged(planes: Real) -> Intensities:
    return Intensities(planes, ((planes >= _DARK) & (planes <= _CLIPPED)).all((0, 1)))


def _tiles(planes: Real) -> Real:
    """Four whole pictures in one: 0 and 45 above, 90 and 135 below."""
    _, height, width = planes.shape
    if height % 2 or width % 2:
        raise ValueError(f"it is {width} x {height} px; four tiles need even sides")
    top, left = height // 2, width // 2
    above, below = planes[:, :top], planes[:, top:]
    return np.stack([above[..., :left], above[..., left:], below[..., :left], below[..., left:]])


def _sites(cell: int) -> list[list[list[tuple[int, int]]]]:
    """[angle][channel]: the (row, column) of its pixels in a cell."""
    sites: list[list[list[tuple[int, int]]]] = [[[] for _ in range(1 if cell == 2 else 3)] for _ in ANGLES]
    for row in range(cell):
        for column in range(cell):
            channel = 0 if cell == 2 else _BAYER[row // 2][column // 2]
            sites[ANGLES.index(_BLOCK[row % 2][column % 2])][channel].append((row, column))
    return sites


def _decimated(mosaic: Real, cell: int) -> Real:
    """(4, C, H / cell, W / cell): one pixel a cell. The angles lie up to a pixel apart, which shows at edges."""

    def at(row: int, column: int) -> Real:
        return mosaic[row::cell, column::cell]

    return _averaged(at, cell)


def _interpolated(mosaic: Real, cell: int) -> Real:
    """(4, C, H, W): each angle between its own pixels, bilinear; at the border, the nearest."""

    def at(row: int, column: int) -> Real:
        known = mosaic[row::cell, column::cell]
        return _stretched(_stretched(known, row, cell).T, column, cell).T

    return _averaged(at, cell)


def _averaged(at: Any, cell: int) -> Real:
    planes = [[np.mean([at(*site) for site in of], axis=0) for of in channels] for channels in _sites(cell)]
    return np.stack([np.stack(channels) for channels in planes])


def _stretched(known: Real, first: int, step: int) -> Real:
    """Rows at 0, 1, ... from rows known at first, first + step, ..."""
    place = ((np.arange(step * len(known)) - first) / step).clip(0, len(known) - 1)
    below = place.astype(np.intp)
    above = np.minimum(below + 1, len(known) - 1)
    share = (place - below).astype(np.float32)[:, None]
    return known[below] * (1 - share) + known[above] * share


def _dolp_aolp(path: Path) -> tuple[Real, NDArray[np.bool_]]:
    """10000 DoLP in blue and 10000 AoLP, radians in [0, pi), in green, as DPS-Net's files are written by OpenCV."""
    raw = read_raw(path, "polarization")
    with whole("polarization", path):
        if raw.dtype != np.uint16 or raw.ndim != 3 or raw.shape[2] < 3:
            raise ValueError(f"it holds {raw.dtype} of the shape {raw.shape}; DoLP and AoLP are 3 channels of 16 bits")
        dolp, aolp = raw[..., 2] / 1e4, raw[..., 1] / 1e4
        if aolp.max() > math.pi + 1e-3:
            raise ValueError(f"green holds an angle of {aolp.max():.4g} rad; expected 10000 AoLP in [0, pi)")
        if raw[..., 0].any() and not raw[..., 2].any():
            raise ValueError("red holds what blue should, 10000 DoLP: red and blue are exchanged")
        # Noise alone takes DoLP above 1, and such a pixel says nothing.
        return np.stack([dolp * np.cos(2 * aolp), dolp * np.sin(2 * aolp)]).astype(np.float32), dolp <= 1

"""The data set `thermal`: another set's stereo scenes, with the thermal images that two infrared cameras might see.

The images are simulated. Every surface, glass too, is taken as opaque at 8 to 14 um; it sends out its own radiation and
mirrors a little of the room's. What is where follows from the true disparity, which surfaces are glass from the mask
`transparent`; temperatures are drawn, for each scene its own.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from engine.contracts import Progress, Sample
from engine.data.options import InnerData
from engine.hookspecs import Register, hookimpl

ENGINE_API = 1

Map = NDArray[np.float64]
"""(H, W), or (3, H, W) for directions and points: x right, y down, z forward."""

ROOM = 293.0  # K
WAVELENGTH = 10.0  # um, the middle of the window in which such cameras see
SECOND_RADIATION = 14388.0  # um K, h c / k in Planck's law
MIRRORED_BY_GLASS, MIRRORED_BY_OTHERS = 0.11, 0.05  # at normal incidence; tables of emissivity give 0.89 and 0.95
WARM_PLACES = 4  # where the sun, a lamp or a hand was: warmth alone is no sign of glass
JUMP = 1.0  # px of disparity between neighbours, from which two pixels are of two things


class ThermalOptions(BaseModel):
    """Options of the data set `thermal`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: InnerData = Field(description="a stereo set with disparity, transparent, focal and baseline; it crops, too")
    glass: float = Field(4.0, ge=0, description="K; how much glass things differ from the room, standard deviation")
    places: float = Field(3.0, ge=0, description="K; the same of warm and cool places of the room")
    noise: float = Field(0.05, ge=0, description="K; noise of a pixel, as cameras without cooling have")
    blur: float = Field(1.0, ge=0, description="px; standard deviation of the optics' blur")


class Thermal:
    """The other set's samples with `thermal` and `thermal_other`: (1, H, W) float32, K from the middle of the picture.

    `thermal` lies on the left image, `thermal_other` on the right one. Both belong to the whole frame and have one
    fixed noise, so the frame comes as evaluation sees it, and in training the other set cuts it.
    """

    def __init__(self, options: ThermalOptions) -> None:
        self.options = options
        self._of: Any = options.of.build()  # Any: what a data set may leave out is no part of its protocol

    def __len__(self) -> int:
        return len(self._of)

    def prepare(self, progress: Progress) -> None:
        """Let the other set make what it reads."""
        if hasattr(self._of, "prepare"):
            self._of.prepare(progress)

    def scenes(self) -> Any:
        """The other set's names for its scenes, where it has any."""
        return self._of.scenes() if hasattr(self._of, "scenes") else None

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Example `index`: the whole frame, or cut by `rng` as the other set cuts frames."""
        frame: Sample = self._of.sample(index, None)
        views = thermal_images(frame, self.options)
        for name, view in zip(("thermal", "thermal_other"), views, strict=True):
            frame[name] = view[None].astype(np.float32)
        return frame if rng is None else self.augment(frame, rng)

    def augment(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A whole example with the base's answer, cut; the thermal images are arrays like all others."""
        cut: Sample = self._of.augment(sample, rng)
        return cut


def thermal_images(sample: Sample, options: ThermalOptions) -> tuple[Map, Map]:
    """What the left and the right thermal camera show, (H, W) each, K from the median of the picture."""
    chance = np.random.default_rng(zlib.crc32(str(sample["id"]).encode()))
    surface = Surface.of(sample)
    own = temperatures(surface, options, chance)
    ceiling = chance.uniform(-4, 4)  # K; what is mirrored from above against what is mirrored from below
    mirrored = np.where(surface.glass, MIRRORED_BY_GLASS, MIRRORED_BY_OTHERS)
    left, right = (surface.radiance(own, mirrored, ceiling, offset) for offset in (0.0, surface.baseline))
    right = as_the_right_sees(right, surface.disparity)
    return _picture(left, options, chance), _picture(right, options, chance)


def _picture(radiance: Map, options: ThermalOptions, chance: np.random.Generator) -> Map:
    seen = temperature_of(gaussian_filter(radiance, options.blur, mode="nearest"))
    seen = seen + options.noise * chance.standard_normal(seen.shape)
    return seen - np.median(seen)  # such a camera knows no absolute temperature; it drifts


@dataclass(frozen=True)
class Surface:
    """What the left camera meets in each pixel. points: (3, H, W) m. away: (3, H, W) unit normals into the surface."""

    disparity: Map
    valid: NDArray[np.bool_]
    glass: NDArray[np.bool_]
    points: Map
    away: Map
    baseline: float

    @classmethod
    def of(cls, sample: Sample) -> Surface:
        """The surface that the sample's disparity, focal length and baseline describe."""
        focal, baseline = float(sample["focal"]), float(sample["baseline"])
        valid = sample["valid"][0]
        disparity = np.where(valid, sample["disparity"][0], 0.5).astype(np.float64)  # 0.5 px: far away
        y, x = np.indices(disparity.shape)
        x, y = x - (disparity.shape[1] - 1) / 2, y - (disparity.shape[0] - 1) / 2
        points = np.stack([x, y, np.full_like(x, focal)]) * baseline / disparity
        # A plane n p = c has the disparity (n_x x + n_y y + n_z f) b / c, so its slopes tell n.
        along, down = slope(disparity, 1), slope(disparity, 0)
        away = np.stack([focal * along, focal * down, disparity - x * along - y * down])
        return cls(disparity, valid, sample["transparent"][0] & valid, points, _unit(away), baseline)

    def radiance(self, own: Map, mirrored: Map, ceiling: float, offset: float) -> Map:
        """What every point sends to a camera `offset` m to the right of the left one.

        own: K. mirrored: reflectance at normal incidence; it rises towards grazing (Schlick, "An inexpensive BRDF model
        for physically-based rendering", 1994). ceiling: K by which what comes from above is warmer.
        """
        ray = _unit(self.points - np.array([offset, 0, 0])[:, None, None])
        cosine = np.clip((ray * self.away).sum(0), 0, 1)
        reflectance = mirrored + (1 - mirrored) * (1 - cosine) ** 5
        upwards = -(ray - 2 * cosine * self.away)[1]
        around = ROOM + ceiling * upwards
        return np.where(self.valid, (1 - reflectance) * planck(own) + reflectance * planck(around), planck(around))


def temperatures(surface: Surface, options: ThermalOptions, chance: np.random.Generator) -> Map:
    """K of every point: a room with warm and cool places, and glass things, each with a temperature of its own."""
    found = ROOM - surface.points[1]  # a kelvin a metre of height
    seen = np.argwhere(surface.valid)
    places = chance.integers(max(len(seen), 1), size=WARM_PLACES if len(seen) else 0)
    for row, column in seen.take(places, axis=0).tolist():
        away = ((surface.points - surface.points[:, row, column][:, None, None]) ** 2).sum(0)
        found = found + options.places * chance.standard_normal() * np.exp(-away / chance.uniform(0.1, 0.4) ** 2)
    of_thing, count = pieces(surface.glass, surface.disparity)
    warmth = options.glass * chance.standard_normal(count)
    return np.where(surface.glass, ROOM + warmth[of_thing], found)


def pieces(mask: NDArray[np.bool_], disparity: Map) -> tuple[NDArray[np.int32], int]:
    """The number (H, W) of the connected thing that each pixel of the mask is part of, and how many there are."""
    number = np.arange(mask.size).reshape(mask.shape)
    pairs = []
    for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        joined = mask[first] & mask[second] & (np.abs(disparity[first] - disparity[second]) < JUMP)
        pairs.append(np.stack([number[first][joined], number[second][joined]]))
    rows, columns = np.concatenate(pairs, axis=1)
    count, labels = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), (mask.size, mask.size)))
    return labels.reshape(mask.shape), count


def as_the_right_sees(radiance: Map, disparity: Map) -> Map:
    """The map (H, W) of the left view's points on the right view's pixels, the nearest point first.

    What the left view does not see is taken from the farther one of both neighbours in the row.
    """
    height, width = disparity.shape
    rows, columns = np.mgrid[:height, :width]
    place = np.rint(columns - disparity).astype(int)
    inside = place >= 0
    nearest = np.full((height, width), -np.inf)
    np.maximum.at(nearest, (rows[inside], place[inside]), disparity[inside])
    hit = np.isfinite(nearest)
    before = np.maximum.accumulate(np.where(hit, columns, -1), axis=1)
    after = np.minimum.accumulate(np.where(hit, columns, width)[:, ::-1], axis=1)[:, ::-1]
    bounded = np.pad(np.where(hit, nearest, np.inf), ((0, 0), (1, 1)), constant_values=np.inf)  # columns -1 and W
    farther_before = np.take_along_axis(bounded, before + 1, 1) <= np.take_along_axis(bounded, after + 1, 1)
    source = np.clip(np.where(farther_before, before, after), 0, width - 1)
    there = np.clip(source + np.take_along_axis(np.where(hit, nearest, 0.0), source, 1), 0, width - 1)
    low = np.minimum(there.astype(int), width - 2)
    first, second = (np.take_along_axis(radiance, low + step, 1) for step in (0, 1))
    between: Map = first + (there - low) * (second - first)
    return between


def slope(disparity: Map, axis: int) -> Map:
    """Change a pixel along an axis, on the side where it is smaller: slopes do not reach across a border of things."""
    step = np.diff(disparity, axis=axis)
    edge = [(0, 0), (0, 0)]
    edge[axis] = (1, 1)
    padded = np.pad(step, edge, mode="edge")
    before, after = (np.take(padded, range(k, k + disparity.shape[axis]), axis=axis) for k in (0, 1))
    return np.where(np.abs(before) < np.abs(after), before, after)


def planck(kelvin: Map) -> Map:
    """Radiance at `WAVELENGTH` by Planck's law, in units of 2 h c^2 / wavelength^5."""
    return 1 / np.expm1(SECOND_RADIATION / (WAVELENGTH * kelvin))


def temperature_of(radiance: Map) -> Map:
    """The temperature of a black body with this radiance: what a thermal camera shows. Inverse of `planck`."""
    return SECOND_RADIATION / (WAVELENGTH * np.log1p(1 / radiance))


def _unit(vectors: Map) -> Map:
    length: Map = np.sqrt((vectors**2).sum(0))
    return vectors / length


@hookimpl
def engine_datasets(register: Register) -> None:
    """Thermal images for the scenes of another data set."""
    register("thermal", ThermalOptions, Thermal)

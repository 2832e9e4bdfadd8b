"""The data set `polarized_scenes`: rectified polarised pairs of procedural scenes with first-surface ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from engine_stereo.sensor import display, expose

from engine.contracts import Progress, Sample
from engine_scenes import store
from engine_scenes.options import SceneOptions
from engine_scenes.scene import BASELINE, FOCAL_PER_WIDTH, generator


class PolarizedScenes:
    """Scenes by index; every index is a scene of its own. The first use renders them into a cache."""

    def __init__(self, options: SceneOptions) -> None:
        self.options = options
        self._scenes: store.Scenes | None = None

    def __len__(self) -> int:
        return self.options.count

    def __getstate__(self) -> dict[str, Any]:
        # Every process opens the store itself: handles do not travel.
        return {**self.__dict__, "_scenes": None}

    def prepare(self, progress: Progress) -> None:
        """Render what is not in the cache yet, reporting (scenes done, scenes in all, what)."""
        store.ensure(self.options, progress)

    def scenes(self) -> Sequence[str]:
        """Names that tell the scenes of every split and seed apart; nothing is rendered."""
        o = self.options
        return [f"{o.split}-{index:05d} of seed {o.seed}" for index in range(o.count)]

    def units(self) -> Mapping[str, str]:
        """The units of the fields that have one."""
        return {"disparity": "px", "focal": "px", "baseline": "m"}

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Scene `index` with sensor noise: fresh noise and a random crop from `rng`, or its one fixed exposure if None.

        left, right: (3, H, W) float32, sRGB in [0, 255]. polarization_left, polarization_right: (2, H, W) float32,
        (S1, S2) / S0, x image right, counter-clockwise with y up. disparity: (1, H, W) float32, px, of the first
        surface. valid, occluded, transparent: (1, H, W) bool; occluded pixels have no counterpart in the right image,
        be it hidden or outside. focal (px) and baseline (m): float32 scalars. id and scene: the scene's name.

        Raises:
            IndexError: no such scene.
            DamagedDataError: the scene is not as it was rendered.
        """
        o = self.options
        if not 0 <= index < o.count:
            raise IndexError(f"scene {index} of {o.count}")
        name = f"{o.split}-{index:05d}"
        scenes = self._open()
        rows, columns = self._window(rng)
        light = scenes.read(store.LIGHT, index, name)[:, rows, columns].astype(np.float32)
        truth = scenes.read(store.TRUTH, index, name)[:, rows, columns]
        chance = generator(o.seed, o.split, index, purpose=1) if rng is None else rng
        left, polarization_left = expose(light[0:3], light[3:5], o.noise, o.shot_noise, chance)
        right, polarization_right = expose(light[5:8], light[8:10], o.noise, o.shot_noise, chance)
        disparity, flags = truth[:1].astype(np.float32) / store.DISPARITY_SCALE, truth[1:]
        valid = (flags & store.VALID) > 0
        return {
            "left": display(left),
            "right": display(right),
            "polarization_left": polarization_left,
            "polarization_right": polarization_right,
            "disparity": disparity,
            "valid": valid,
            "occluded": ((flags & store.OCCLUDED) > 0) | _outside(disparity, valid),
            "transparent": (flags & store.TRANSPARENT) > 0,
            "focal": np.float32(FOCAL_PER_WIDTH * o.width),
            "baseline": np.float32(BASELINE),
            "id": name,
            "scene": name,
        }

    def augment(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A scene with the base's answer to all of it, cut at random; its noise is that of its one fixed exposure."""
        if self.options.crop is None:
            return sample
        rows, columns = self._window(rng)
        cut = {
            name: np.ascontiguousarray(value[:, rows, columns]) if np.ndim(value) == 3 else value
            for name, value in sample.items()
        }
        if "occluded" in cut:
            cut["occluded"] |= _outside(cut["disparity"], cut["valid"])
        return cut

    def _window(self, rng: np.random.Generator | None) -> tuple[slice, slice]:
        o = self.options
        if rng is None or o.crop is None:
            return slice(None), slice(None)
        height, width = o.crop
        top, left = int(rng.integers(o.height - height + 1)), int(rng.integers(o.width - width + 1))
        return slice(top, top + height), slice(left, left + width)

    def _open(self) -> store.Scenes:
        if self._scenes is None:
            self._scenes = store.Scenes(store.ensure(self.options), self.options)
        return self._scenes


def _outside(disparity: np.ndarray[Any, Any], valid: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Valid pixels (1, H, W) whose counterpart is left of the right image; a crop loses a part of that one too."""
    return (np.arange(disparity.shape[-1]) - disparity < -0.5) & valid

"""Examples as files: what belongs together, and which of it a recipe takes. Nothing is read before `sample`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.errors import InputError
from engine_stereo.data.calibration import Calibration
from engine_stereo.data.curate import curated
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import Encoding

if TYPE_CHECKING:
    import numpy as np

    from engine.contracts import Sample

__all__ = ["LAYOUTS", "Frame", "Frames", "FramesOptions", "Layout", "MaskFile", "Polarization"]

Layout = Literal["dofp_mono", "dofp_colour", "angles", "tiles", "dolp_aolp"]

LAYOUTS: dict[Layout, int] = {"dofp_mono": 1, "dofp_colour": 1, "angles": 4, "tiles": 1, "dolp_aolp": 1}
"""How polarisation is stored (`engine_stereo.data.polarimetry`), and how many files a view has."""


@dataclass(frozen=True)
class MaskFile:
    """A mask: true where the stored value is one of `values`, or above 0 without them; `inverted`, elsewhere."""

    path: Path
    values: tuple[int, ...] | None = None
    inverted: bool = False


@dataclass(frozen=True)
class Polarization:
    """The polarisation of both views; a view has as many files as LAYOUTS says, or none of a camera without.

    A picture of the frame that is itself one of these files is the mean over the angles, not the file's pixels.
    """

    layout: Layout
    left: tuple[Path, ...]
    right: tuple[Path, ...]


@dataclass(frozen=True)
class Frame:
    """The files of one example.

    scene: examples of one scene stay on one side of a split. masks: by name; 'valid' and 'valid.ANY' narrow what the
    disparity's file says is known, the others become fields. Without `right` it is a single view without disparity.
    disparity_right: the right view's, in the same encoding; masks of that view are called `ANY_right`.
    """

    id: str
    scene: str
    left: Path
    right: Path | None
    disparity: Path | None = None
    encoding: Encoding | None = None
    masks: Mapping[str, MaskFile] = field(default_factory=dict)
    polarization: Polarization | None = None
    calibration: Calibration | None = None
    disparity_right: Path | None = None


class Frames:
    """A data set of `frames`.

    root: the folder they are from, so that scenes of two sets that share a name are not taken for one.
    """

    def __init__(self, frames: Sequence[Frame], options: FramesOptions, root: Path | None = None) -> None:
        self.options = options
        chosen = _part(frames, options)
        if options.curate is not None:
            chosen = curated(chosen, options.curate)
        self.frames = list(chosen[: options.limit])
        self.root = root
        if options.polarimetry is not None and not any(frame.polarization for frame in self.frames):
            raise InputError("'polarimetry' has no effect: these examples have no files of polarisation")
        mirrors = options.augment is not None and options.augment.flip_horizontal > 0
        one = next((frame for frame in self.frames if frame.disparity and not frame.disparity_right), None)
        if mirrors and one is not None:
            what = f"flip_horizontal makes the right view the left one, and {one.id} has no disparity of the right view"
            raise InputError(what, "leave flip_horizontal out; flip_vertical needs nothing more")

    def __len__(self) -> int:
        return len(self.frames)

    def scenes(self) -> list[str]:
        """The scene of each frame by name, under the root."""
        return [f"{self.root}: {frame.scene}" if self.root else frame.scene for frame in self.frames]

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Example `index`; `rng` draws the crop, which is in the middle without, and the augmentation.

        left, right (3, H, W) float32 in [0, 255]; with ground truth disparity (1, H, W) float32 px and valid
        (1, H, W) bool; every other mask (1, H, W) bool; polarization_left, polarization_right (2, H, W) float32 as
        (S1/S0, S2/S0); focal px, baseline m, doffs px, float32, where known; id, scene.

        DamagedDataError for a file that cannot be read, WorldError for one that is missing, InputError for parts whose
        sizes differ and for a crop that does not fit, IndexError for an index that is not there.
        """
        from engine_stereo.data.augment import shown

        options = self.options
        return shown(self._read(index, options.right_truth if rng is None else options.both_truths), options, rng)

    def whole(self, index: int) -> Sample:
        """Example `index` without crop and augmentation; errors as of `sample`."""
        return self._read(index, self.options.right_truth)

    def augment(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The whole example with the base's answer to it as training sees it; InputError as of `cut_after_base`."""
        from engine_stereo.data.augment import cut_after_base

        return cut_after_base(sample, self.options.augment, rng, self.options.window(rng))

    def _read(self, index: int, both: bool) -> Sample:
        from engine_stereo.data.reading import read, scaled

        if not 0 <= index < len(self):
            raise IndexError(f"the data set has {len(self)} examples; there is no index {index}")
        return scaled(read(self.frames[index], self.options.polarimetry, both), self.options.scale)


def _part(frames: Sequence[Frame], options: FramesOptions) -> Sequence[Frame]:
    """The examples on the asked side of the split; InputError where that is none of them."""
    if options.part == "all":
        return frames
    names = {frame.scene for frame in frames}
    held_out = _held_out(names, options.val_share, options.split_seed)
    chosen = [frame for frame in frames if (frame.scene in held_out) == (options.part == "val")]
    if chosen or not frames:
        return chosen
    what = f"part {options.part!r} has none of the {len(names)} scenes at val_share = {options.val_share:g}"
    wanted = min(len(names) - 1, max(1, round(options.val_share * len(names))))
    seeds = (seed for seed in range(10_000) if len(_held_out(names, options.val_share, seed)) == wanted)
    seed = next(seeds, None) if wanted else None
    if seed is None:
        raise InputError(f"{what}; a split needs more scenes, or a data set of its own for each part")
    raise InputError(what, f"with split_seed = {seed} part 'val' has {wanted} of them; say so for both parts")


def _held_out(scenes: set[str], share: float, seed: int) -> set[str]:
    """The scenes of part 'val': each by its own name, so that adding scenes moves none from side to side."""
    return {scene for scene in scenes if _place(scene, seed) < share}


def _place(scene: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{scene}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64

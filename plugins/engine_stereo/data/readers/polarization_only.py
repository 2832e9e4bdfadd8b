"""Polarisation without ground truth of disparity: HAMMER's camera, and one's own raw mosaics.

Jung et al., "On the importance of accurate geometry data for dense 3D vision tasks", CVPR 2023 (HAMMER). It has one
polarisation camera beside depth sensors: no second view, so no disparity and nothing for a stereo network to learn
from. Its examples serve to look at polarisation, to judge it, and to train what takes one view.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from engine.errors import InputError, Problem
from engine_stereo.data.frames import Frame, Polarization
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.patterns import star_count
from engine_stereo.data.readers.layout import Layout, listed

# The split of the published depth completion, by the scene's number.
_SPLITS = {"train": range(2, 11), "val": range(11, 13), "test": range(13, 15)}


class HammerOptions(FramesOptions):
    """Options of `hammer`."""

    root: Path = Field(description="the folder of the scenes, scene2_traj1_1/ and so on")
    split: Literal["all", "train", "val", "test"] = Field("all", description="scenes 2-10, 11 and 12, 13 and 14")
    naked: bool = Field(False, description="also the scenes without objects")


class DofpOptions(FramesOptions):
    """Options of `dofp`."""

    root: Path = Field(description="where the paths of left and right begin")
    left: str = Field("left/*.png", description="the left camera's raw mosaics, PNG or TIFF of 8 or 16 bits")
    right: str | None = Field(None, description="the right camera's, with the same stars; a single view without it")
    colour: bool = Field(False, description="mosaics of the colour sensor, 4 x 4 px a cell")


def hammer(options: HammerOptions) -> list[Frame]:
    """Single views: the mean over the four tiles as `left`, and its polarisation. Errors as in `listed`."""

    def keep(parts: tuple[str, ...]) -> bool:
        number = re.match(r"scene(\d+)_", parts[0])
        wanted = options.split == "all" or (number is not None and int(number[1]) in _SPLITS[options.split])
        return wanted and (options.naked or "naked" not in parts[0])

    tiles = "*/pol/*.png"
    layout = Layout(
        left=tiles,
        right=None,
        id="*/*",
        polarization=Polarization("tiles", (Path(tiles),), ()),
        keep=keep,
        scene=lambda parts: parts[0].split("_")[0],  # its trajectories see the same objects
    )
    return listed(options.root, [layout])


def dofp(options: DofpOptions) -> list[Frame]:
    """The mean over the angles of each mosaic as its picture, and its polarisation; each example a scene of its own.

    With ground truth, masks or scenes, write a manifest. Errors as in `listed`.
    """
    stars = star_count(options.left)
    if options.right is not None and star_count(options.right) != stars:
        what = f"right is {options.right!r}, with {star_count(options.right)} stars"
        raise InputError(Problem("", what, f"{stars}, as in left, {options.left!r}"))
    right = () if options.right is None else (Path(options.right),)
    layout = Layout(
        left=options.left,
        right=options.right,
        id=str(Path(options.left).with_suffix("")),
        polarization=Polarization("dofp_colour" if options.colour else "dofp_mono", (Path(options.left),), right),
    )
    return listed(options.root, [layout])

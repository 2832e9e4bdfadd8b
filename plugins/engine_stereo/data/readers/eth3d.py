"""ETH3D's two-view benchmark: grey pictures of rooms and outdoors with laser-scanned ground truth.

Schoeps et al., "A multi-view stereo benchmark with high-resolution images and multi-camera videos", CVPR 2017.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from engine_stereo.data.frames import Frame, MaskFile
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed

_VISIBLE_IN_BOTH = 255  # in mask0nocc.png


class ETH3DOptions(FramesOptions):
    """Options of `eth3d`."""

    root: Path = Field(description="the folder with two_view_training/ and two_view_training_gt/")
    split: Literal["training", "testing"] = Field("training", description="'testing' has no ground truth")


def frames(options: ETH3DOptions) -> list[Frame]:
    """The pairs, with `occluded` where there is ground truth. Errors as in `listed`."""
    known = options.split == "training"
    pictures, truth = f"two_view_{options.split}", "two_view_training_gt"
    if not known and (options.root / "two_view_test").is_dir():  # as the archive is named, and some unpack it
        pictures = "two_view_test"
    layout = Layout(
        left=f"{pictures}/*/im0.png",
        right=f"{pictures}/*/im1.png",
        id="*",
        disparity=f"{truth}/*/disp0GT.pfm" if known else None,
        encoding=PRESETS["eth3d"],
        masks={"occluded": MaskFile(Path(f"{truth}/*/mask0nocc.png"), (_VISIBLE_IN_BOTH,), True)} if known else {},
        calibration=f"{pictures}/*/calib.txt",
        scene=_place,
    )
    return listed(options.root, [layout])


def _place(parts: tuple[str, ...]) -> str:
    """delivery_area_1l and delivery_area_3s are views of one place."""
    return re.sub(r"_\d+[ls]$", "", parts[0])

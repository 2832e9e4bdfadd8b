"""KITTI 2012 and 2015: streets with sparse LiDAR ground truth.

Geiger et al., "Are we ready for autonomous driving?", CVPR 2012; Menze and Geiger, "Object scene flow for autonomous
vehicles", CVPR 2015. What the LiDAR saw and the right camera did not is in disp_occ and not in disp_noc.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from engine_stereo.data.frames import Frame, MaskFile
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed


class KittiOptions(FramesOptions):
    """Options of `kitti2012` and `kitti2015`."""

    root: Path = Field(description="the folder with training/ and testing/")
    split: Literal["training", "testing"] = Field("training", description="'testing' has no ground truth")


def frames_2012(options: KittiOptions) -> list[Frame]:
    """The colour pairs of 2012, with `occluded` and `reflective`, a mask of shiny surfaces. Errors as in `listed`."""
    split = options.split
    masks = {
        "occluded": MaskFile(Path(f"{split}/disp_noc/*_10.png"), inverted=True),
        "reflective": MaskFile(Path(f"{split}/disp_refl_occ/*_10.png")),
    }
    return _frames(options, ("colored_0", "colored_1"), "disp_occ", masks, "calib")


def frames_2015(options: KittiOptions) -> list[Frame]:
    """The pairs of 2015, with `occluded` and `foreground`, a mask of the moving cars. Errors as in `listed`."""
    split = options.split
    masks = {
        "occluded": MaskFile(Path(f"{split}/disp_noc_0/*_10.png"), inverted=True),
        "foreground": MaskFile(Path(f"{split}/obj_map/*_10.png")),
    }
    return _frames(options, ("image_2", "image_3"), "disp_occ_0", masks, "calib_cam_to_cam")


def _frames(
    options: KittiOptions, views: tuple[str, str], truth: str, masks: dict[str, MaskFile], calibration: str
) -> list[Frame]:
    split, known = options.split, options.split == "training"
    left, right = (f"{split}/{view}/*_10.png" for view in views)  # of _11, the next moment, there is no disparity
    layout = Layout(
        left=left,
        right=right,
        id="*_10",
        disparity=f"{split}/{truth}/*_10.png" if known else None,
        encoding=PRESETS["kitti"],
        masks=masks if known else {},
        calibration=f"{split}/{calibration}/*.txt",
    )
    return listed(options.root, [layout])

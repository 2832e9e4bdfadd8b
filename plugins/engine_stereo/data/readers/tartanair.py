"""TartanAir: rendered flights with depth.

Wang et al., "TartanAir: a dataset to push the limits of visual SLAM", IROS 2020. Disparity is 80 / depth: focal length
320 px, baseline 0.25 m. The sky has a depth of many kilometres, hence a disparity near 0, and counts as known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from engine_stereo.data.calibration import Calibration
from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed

_CALIBRATION = Calibration(focal=320.0, baseline=0.25)


class TartanAirOptions(FramesOptions):
    """Options of `tartanair`."""

    root: Path = Field(description="the folder of the environments, each with a folder of its own name in it")
    difficulty: Literal["all", "Easy", "Hard"] = Field("all", description="how fast the camera moves")


def frames(options: TartanAirOptions) -> list[Frame]:
    """Every frame; a scene is an environment, because its flights see the same places. Errors as in `listed`."""
    level = "*" if options.difficulty == "all" else options.difficulty
    flight = f"*/*/{level}/*"
    layout = Layout(
        left=f"{flight}/image_left/*_left.png",
        right=f"{flight}/image_right/*_right.png",
        id=f"{flight}/*",
        disparity=f"{flight}/depth_left/*_left_depth.npy",
        encoding=PRESETS["tartanair"],
        calibration=_CALIBRATION,
        scene="*",
    )
    return listed(options.root, [layout])

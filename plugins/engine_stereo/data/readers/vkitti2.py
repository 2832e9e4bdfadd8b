"""Virtual KITTI 2: KITTI's streets rendered in several weathers, with depth.

Cabon et al., "Virtual KITTI 2", 2020. Depth is in centimetres, and 65535 is the sky.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from engine_stereo.data.calibration import Calibration
from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed


class VKITTI2Options(FramesOptions):
    """Options of `vkitti2`."""

    root: Path = Field(description="the folder with Scene01/ to Scene20/")


def frames(options: VKITTI2Options) -> list[Frame]:
    """Every frame in every weather; all weathers of a street are one scene. Errors as in `listed`."""
    encoding = PRESETS["vkitti2"]
    assert encoding.depth is not None, "the set stores depth"
    view = "Scene*/*/frames"
    layout = Layout(
        left=f"{view}/rgb/Camera_0/rgb_*.jpg",
        right=f"{view}/rgb/Camera_1/rgb_*.jpg",
        id="Scene*/*/*",
        disparity=f"{view}/depth/Camera_0/depth_*.png",
        encoding=encoding,
        calibration=Calibration(encoding.depth.focal, encoding.depth.baseline),
        scene="Scene*",
    )
    return listed(options.root, [layout])

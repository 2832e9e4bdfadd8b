"""UnrealStereo4K: rendered pairs of 8 MP.

Tosi et al., "SMD-Nets: stereo mixture density networks", CVPR 2021. The cameras are not in the layout read here.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed


class UnrealStereo4KOptions(FramesOptions):
    """Options of `unrealstereo4k`."""

    root: Path = Field(description="the folder with 00000/ to 00008/")


def frames(options: UnrealStereo4KOptions) -> list[Frame]:
    """Every pair; a scene is a folder. Errors as in `listed`."""
    layout = Layout(
        left="*/Image0/*.png",
        right="*/Image1/*.png",
        id="*/*",
        disparity="*/Disp0/*.npy",
        encoding=PRESETS["unrealstereo4k"],
        scene="*",
    )
    return listed(options.root, [layout])

"""MPI Sintel's stereo pairs, from an animated film.

Butler et al., "A naturalistic open source movie for optical flow evaluation", ECCV 2012. Disparity is
4 R + G / 2^6 + B / 2^14. What the right view does not show, because something hides it or the frame ends, is not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from engine_stereo.data.frames import Frame, MaskFile
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed


class SintelOptions(FramesOptions):
    """Options of `sintel_stereo`."""

    root: Path = Field(description="the folder with training/")
    render: Literal["clean", "final"] = Field("clean", description="'final' has blur, fog and depth of field")


def frames(options: SintelOptions) -> list[Frame]:
    """Every frame of the film's training scenes. Errors as in `listed`."""
    layout = Layout(
        left=f"training/{options.render}_left/*/*.png",
        right=f"training/{options.render}_right/*/*.png",
        id="*/*",
        disparity="training/disparities/*/*.png",
        encoding=PRESETS["sintel"],
        masks={
            "valid.visible": MaskFile(Path("training/occlusions/*/*.png"), (0,)),
            "valid.in_frame": MaskFile(Path("training/outofframe/*/*.png"), (0,)),
        },
        scene="*",
    )
    return listed(options.root, [layout])

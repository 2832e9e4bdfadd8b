"""FSD, the rendered pairs that FoundationStereo was trained on.

Wen et al., "FoundationStereo: zero-shot stereo matching", CVPR 2025. Disparity is three digits to the base 255, not
256, red first; a reader that decodes with OpenCV has them in the other order. The cameras are not published.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS, Digits
from engine_stereo.data.readers.layout import Layout, listed


class FSDOptions(FramesOptions):
    """Options of `fsd`."""

    root: Path = Field(description="the folder of the environments, each with dataset/data/")
    digits: Digits = Field("rgb", description="the colours of disparity, the highest digit first; relatives differ")


def frames(options: FSDOptions) -> list[Frame]:
    """Every pair; a scene is an environment. Errors as in `listed`."""
    data = "*/dataset/data"
    layout = Layout(
        left=f"{data}/left/rgb/*.jpg",
        right=f"{data}/right/rgb/*.jpg",
        id="*/*",
        disparity=f"{data}/left/disparity/*.png",
        encoding=PRESETS["fsd"].model_copy(update={"digits": options.digits}),
        scene="*",
    )
    return listed(options.root, [layout])

"""InStereo2K: indoor pairs with structured-light ground truth.

Bao et al., "InStereo2K: a large real dataset for stereo matching in indoor scenes", Science China 2020. A pixel is 100
stored units; readers that divide by 1024 exist and are wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed


class InStereo2KOptions(FramesOptions):
    """Options of `instereo2k`."""

    root: Path = Field(description="the folder with train/ and test/")
    split: Literal["train", "test"] = Field("train", description="both have ground truth")


def frames(options: InStereo2KOptions) -> list[Frame]:
    """The pairs of the split, each a scene of its own. Errors as in `listed`."""
    pair, name = ("train/part*/*", "part*/*") if options.split == "train" else ("test/*", "*")
    layout = Layout(
        left=f"{pair}/left.png",
        right=f"{pair}/right.png",
        id=name,
        disparity=f"{pair}/left_disp.png",
        encoding=PRESETS["instereo2k"],
    )
    return listed(options.root, [layout])

"""CREStereo's rendered pairs: holes, reflections, ShapeNet's objects, trees.

Li et al., "Practical stereo matching via cascaded recurrent network with adaptive correlation", CVPR 2022. The cameras
are not published.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed

Subset = Literal["hole", "reflective", "shapenet", "tree"]


class CREStereoOptions(FramesOptions):
    """Options of `crestereo`."""

    root: Path = Field(description="the folder with hole/, reflective/, shapenet/ and tree/")
    subsets: Annotated[tuple[Subset, ...], Field(min_length=1)] = Field(
        ("hole", "reflective", "shapenet", "tree"), description="which of the four folders are read"
    )


def frames(options: CREStereoOptions) -> list[Frame]:
    """Every pair, each a scene of its own. Errors as in `listed`."""
    layouts = [
        Layout(
            left=f"{subset}/*_left.jpg",
            right=f"{subset}/*_right.jpg",
            id=f"{subset}/*",
            disparity=f"{subset}/*_left.disp.png",
            encoding=PRESETS["crestereo"],
        )
        for subset in dict.fromkeys(options.subsets)
    ]
    return listed(options.root, layouts)

"""DrivingStereo: streets with ground truth from LiDAR, filtered by a network.

Yang et al., "DrivingStereo: a large-scale dataset for stereo matching in autonomous driving scenarios", CVPR 2019.
Files of half size count in 1/256 px, those of full size in 1/128 px of the full-size picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed


class DrivingStereoOptions(FramesOptions):
    """Options of `drivingstereo`."""

    root: Path = Field(description="the folder with train-left-image/ and the like, or with cloudy/ and the like")
    split: Literal["train", "test", "cloudy", "foggy", "rainy", "sunny"] = Field(
        "train", description="as published; the weathers are 500 pairs each"
    )
    size: Literal["half", "full"] = Field("half", description="only the weathers were published in full size")

    @model_validator(mode="after")
    def _only_weathers_are_full(self) -> Self:
        if self.size == "full" and self.split in ("train", "test"):
            raise ValueError(f"split {self.split!r} was published in half size only")
        return self


def frames(options: DrivingStereoOptions) -> list[Frame]:
    """The pairs; a scene is a drive. Errors as in `listed`."""
    split, within = options.split, f"-{options.size}-size"
    folder = {"train": "train-{0}/*", "test": "test-{0}/{0}{1}"}.get(split, f"{split}/{{0}}{{1}}")
    left, right, truth = (folder.format(part, within) for part in ("left-image", "right-image", "disparity-map"))
    picture = "jpg" if options.size == "half" else "png"
    layout = Layout(
        left=f"{left}/*.{picture}",
        right=f"{right}/*.{picture}",
        id="*/*" if split == "train" else "*",
        disparity=f"{truth}/*.png",
        encoding=PRESETS["drivingstereo" if options.size == "half" else "drivingstereo_full"],
        scene=_drive,
    )
    return listed(options.root, [layout])


def _drive(parts: tuple[str, ...]) -> str:
    """Names are the drive's time and the picture's: 2018-07-11-14-48-52_2018-07-11-14-50-08-769."""
    return parts[-1].partition("_")[0]

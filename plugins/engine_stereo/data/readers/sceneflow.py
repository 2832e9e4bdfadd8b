"""Scene Flow: FlyingThings3D, Monkaa and Driving as published, and the subset that DispNet and FlowNet 2 used.

Mayer et al., "A Large Dataset to Train Convolutional Networks for Disparity, Optical Flow, and Scene Flow Estimation",
CVPR 2016. In the full set disparity is positive in both views, in the subset it is negative in the left one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine_stereo.data.frames import Frame, MaskFile
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed

Subset = Literal["flyingthings3d", "monkaa", "driving"]

# Objects that graze the camera have thousands of px; RAFT-Stereo and its successors leave out the same ones.
_ENCODING = PRESETS["sceneflow"].model_copy(update={"below": 512.0})


class SceneFlowOptions(FramesOptions):
    """Options of `sceneflow`: the folder with FlyingThings3D/, Monkaa/ and Driving/."""

    root: Path = Field(description="the folder with FlyingThings3D/, Monkaa/ and Driving/")
    subsets: Annotated[tuple[Subset, ...], Field(min_length=1)] = Field(
        ("flyingthings3d", "monkaa", "driving"), description="which of the three are read"
    )
    split: Literal["train", "test"] = Field("train", description="as published; only FlyingThings3D has 'test'")
    render: Literal["clean", "final"] = Field("clean", description="'final' has blur and haze")

    @model_validator(mode="after")
    def _test_is_of_one_subset(self) -> Self:
        if self.split == "test" and "flyingthings3d" not in self.subsets:
            raise ValueError("split 'test' is of 'flyingthings3d' only, which 'subsets' does not name")
        return self


class FlyingThings3DSubsetOptions(FramesOptions):
    """Options of `flyingthings3d_subset`: the folder with train/ and val/."""

    root: Path = Field(description="the folder with train/ and val/")
    split: Literal["train", "val"] = Field("train", description="as published")
    render: Literal["clean", "final"] = Field("clean", description="'final' has blur and haze")


def frames(options: SceneFlowOptions) -> list[Frame]:
    """The pairs of the full set; a scene is what was rendered of one arrangement. Errors as in `listed`."""
    layouts: dict[Subset, list[Layout]] = {
        "flyingthings3d": [_layout(options, "FlyingThings3D", f"{options.split.upper()}/*/*")],
        "monkaa": [_layout(options, "Monkaa", "*")],
        # Both lenses and both speeds show the same street.
        "driving": [
            _layout(options, "Driving", f"{lens}_focallength/{street}/*", street)
            for lens in ("15mm", "35mm")
            for street in ("scene_backwards", "scene_forwards")
        ],
    }
    chosen = dict.fromkeys(options.subsets) if options.split == "train" else ("flyingthings3d",)
    return listed(options.root, [layout for name in chosen for layout in layouts[name]])


def _layout(options: SceneFlowOptions, name: str, folder: str, scene: str = "") -> Layout:
    frames = f"frames_{options.render}pass"
    return Layout(
        left=f"{name}/{frames}/{folder}/left/*.png",
        right=f"{name}/{frames}/{folder}/right/*.png",
        id=f"{name}/{folder}/*",
        disparity=f"{name}/disparity/{folder}/left/*.pfm",
        disparity_right=f"{name}/disparity/{folder}/right/*.pfm" if options.both_truths else None,
        encoding=_ENCODING,
        scene=f"{name}/{scene or folder}",
    )


def subset(options: FlyingThings3DSubsetOptions) -> list[Frame]:
    """The pairs of the subset, with `occluded` where its occlusions were downloaded. Errors as in `listed`."""
    split, both = options.split, options.both_truths
    views = {"occluded": "left"} | ({"occluded_right": "right"} if both else {})
    layout = Layout(
        left=f"{split}/image_{options.render}/left/*.png",
        right=f"{split}/image_{options.render}/right/*.png",
        id=f"{split}/*",
        disparity=f"{split}/disparity/left/*.pfm",
        encoding=_ENCODING,
        disparity_right=f"{split}/disparity/right/*.pfm" if both else None,
        masks={name: MaskFile(Path(f"{split}/disparity_occlusions/{view}/*.png")) for name, view in views.items()},
        scene=lambda parts: f"{split}/{parts[0][:-1]}",  # a scene has ten pictures
    )
    return listed(options.root, [layout])

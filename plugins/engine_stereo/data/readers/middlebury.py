"""Middlebury's structured-light sets: 2014, the evaluation's version 3, 2021, and those of 2005 and 2006.

Scharstein et al., "High-resolution stereo datasets with subpixel-accurate ground truth", GCPR 2014; Scharstein and Pal,
"Learning conditional random fields for stereo", CVPR 2007; Hirschmueller and Scharstein, CVPR 2007.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from engine_stereo.data.frames import Frame, MaskFile
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.patterns import found
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed

# The scene Shopvac of 2014 has numbers of 0 and less where nothing was measured.
_ENCODING = PRESETS["middlebury"].model_copy(update={"above": 0.0})

_OCCLUDED = 128  # in mask0nocc.png: 255 is visible in both views, 0 is unknown


class Middlebury2014Options(FramesOptions):
    """Options of `middlebury2014`."""

    root: Path = Field(description="the folder with <scene>-perfect/ or <scene>-imperfect/")
    rectification: Literal["perfect", "imperfect"] = Field("perfect", description="'imperfect' has vertical disparity")
    right: Literal["same", "exposure", "lighting"] = Field(
        "same", description="the right picture: as the left one, im1E of another exposure, im1L of another lighting"
    )


class MiddEval3Options(FramesOptions):
    """Options of `middeval3`."""

    root: Path = Field(description="the folder with trainingF/, trainingH/ or trainingQ/")
    resolution: Literal["F", "H", "Q"] = Field(description="full, half or quarter size")
    split: Literal["training", "test"] = Field("training", description="'test' has no ground truth")


class Middlebury2021Options(FramesOptions):
    """Options of `middlebury2021`."""

    root: Path = Field(description="the folder with <scene>/im0.png")
    ambient: bool = Field(False, description="also the pairs in <scene>/ambient/, taken in other light")


class Middlebury2006Options(FramesOptions):
    """Options of `middlebury2006`, whose layout is also that of 2005."""

    root: Path = Field(description="the folder with <scene>/view1.png and <scene>/disp1.png")
    size: Literal["full", "half", "third"] = Field(description="what was downloaded; the files do not tell their scale")
    illuminations: bool = Field(False, description="also the pairs in <scene>/Illum*/Exp*/")


def frames_2014(options: Middlebury2014Options) -> list[Frame]:
    """The pairs of 2014. Errors as in `listed`."""
    folder = f"*-{options.rectification}"
    right = {"same": "im1", "exposure": "im1E", "lighting": "im1L"}[options.right]
    layout = Layout(
        left=f"{folder}/im0.png",
        right=f"{folder}/{right}.png",
        id=folder,
        disparity=f"{folder}/disp0.pfm",
        encoding=_ENCODING,
        calibration=f"{folder}/calib.txt",
        scene="*",
    )
    return listed(options.root, [layout])


def frames_eval3(options: MiddEval3Options) -> list[Frame]:
    """The pairs of the evaluation, with `occluded` where there is ground truth. Errors as in `listed`."""
    folder = f"{options.split}{options.resolution}/*"
    layout = Layout(
        left=f"{folder}/im0.png",
        right=f"{folder}/im1.png",
        id="*",
        disparity=f"{folder}/disp0GT.pfm" if options.split == "training" else None,
        encoding=_ENCODING,
        masks={"occluded": MaskFile(Path(f"{folder}/mask0nocc.png"), (_OCCLUDED,))},
        calibration=f"{folder}/calib.txt",
        scene=_without_variant,
    )
    return listed(options.root, [layout])


def frames_2021(options: Middlebury2021Options) -> list[Frame]:
    """The pairs of 2021; artroom1 and artroom2 are two views of one scene. Errors as in `listed`."""

    def layout(left: str, right: str, name: str) -> Layout:
        return Layout(
            left=left,
            right=right,
            id=name,
            disparity="*/disp0.pfm",
            encoding=_ENCODING,
            calibration="*/calib.txt",
            scene=lambda parts: parts[0].rstrip("0123456789"),
        )

    layouts = [layout("*/im0.png", "*/im1.png", "*")]
    if options.ambient:
        layouts.append(layout("*/ambient/*/im0*.png", "*/ambient/*/im1*.png", "*/*/*"))
    return listed(options.root, layouts)


def frames_2006(options: Middlebury2006Options) -> list[Frame]:
    """The pairs of 2005 or 2006 that have ground truth. Errors as in `listed`."""
    encoding = PRESETS["middlebury2006"].model_copy(
        update={"per_px": {"full": 1.0, "half": 2.0, "third": 3.0}[options.size]}
    )

    def layout(scene: str, folder: str) -> Layout:
        return Layout(
            left=f"{scene}{folder}/view1.png",
            right=f"{scene}{folder}/view5.png",
            id=f"{scene}{folder}",
            disparity=f"{scene}/disp1.png",
            encoding=encoding,
            scene=scene,
        )

    # Three scenes of 2005 were published without ground truth, and have pictures only.
    scenes = [parts[0] for parts in found("*/disp1.png", options.root)] or ["*"]
    folders = ["", "/Illum*/Exp*"] if options.illuminations else [""]
    return listed(options.root, [layout(scene, folder) for scene in scenes for folder in folders])


def _without_variant(parts: tuple[str, ...]) -> str:
    """PianoL, MotorcycleE and PlaytableP show Piano, Motorcycle and Playtable in other light or rectification."""
    return re.sub(r"(?<=[a-z0-9])[LEP]$", "", parts[0])

"""Falling Things: household objects rendered as they fall, with depth.

Tremblay et al., "Falling Things: a synthetic dataset for 3D object detection and pose estimation", CVPR Workshops 2018.
Depth is in tenths of a millimetre, the baseline 6 cm; a folder's _camera_settings.json holds the focal length.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from engine_stereo.data.calibration import Calibration
from engine_stereo.data.damage import whole
from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed

Subset = Literal["single", "mixed"]

_ENCODING = PRESETS["fallingthings"]
_SETTINGS = "_camera_settings.json"


class FallingThingsOptions(FramesOptions):
    """Options of `fallingthings`."""

    root: Path = Field(description="the folder fat, with single/ and mixed/")
    subsets: Annotated[tuple[Subset, ...], Field(min_length=1)] = Field(
        ("single", "mixed"), description="one falling object, or several"
    )


def frames(options: FallingThingsOptions) -> list[Frame]:
    """Every pair; a scene is a background. Errors as in `listed`, DamagedDataError for camera settings without fx."""
    layouts = []
    for subset in dict.fromkeys(options.subsets):
        place = "single/*/*" if subset == "single" else "mixed/*"
        layouts.append(
            Layout(
                left=f"{place}/*.left.jpg",
                right=f"{place}/*.right.jpg",
                id=f"{place}/*",
                disparity=f"{place}/*.left.depth.png",
                encoding=_ENCODING,
                scene=lambda parts: parts[-2],  # kitchen_0 is one place, whatever falls in it
            )
        )
    found = listed(options.root, layouts)
    focals = {folder: _focal(folder / _SETTINGS) for folder in dict.fromkeys(frame.left.parent for frame in found)}
    return [_with_camera(frame, focals[frame.left.parent]) for frame in found]


def _with_camera(frame: Frame, focal: float) -> Frame:
    assert _ENCODING.depth is not None, "the set stores depth"
    depth = _ENCODING.depth.model_copy(update={"focal": focal})
    return replace(
        frame,
        encoding=_ENCODING.model_copy(update={"depth": depth}),
        calibration=Calibration(focal=depth.focal, baseline=depth.baseline),
    )


def _focal(settings: Path) -> float:
    """px; what all published folders have where the settings were not kept."""
    assert _ENCODING.depth is not None, "the set stores depth"
    if not settings.is_file():
        return _ENCODING.depth.focal
    with whole("calibration", settings):
        focal = float(json.loads(settings.read_text())["camera_settings"][0]["intrinsic_settings"]["fx"])
        if not 0 < focal < float("inf"):
            raise ValueError(f"it says focal length {focal:g} px")
        return focal

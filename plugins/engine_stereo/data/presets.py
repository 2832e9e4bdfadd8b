"""What a stored number means: the encodings that files of disparity or depth use, and those of known data sets.

Imports no numpy, because the options of every data set are registered before anything is read.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["pfm", "png", "npy", "npz", "fsd", "sintel", "dsp5", "exr"]


Digits = Literal["rgb", "rbg", "grb", "gbr", "brg", "bgr"]


class Depth(BaseModel):
    """How depth becomes disparity: d = focal * baseline / (stored * unit) - doffs, in px."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    focal: float = Field(gt=0, description="px, at the stored resolution")
    baseline: float = Field(gt=0, description="m")
    doffs: float = Field(0.0, description="px; x of the right principal point minus that of the left")
    unit: float = Field(1.0, gt=0, description="m a stored unit")


class Encoding(BaseModel):
    """How a file holds disparity, or depth that disparity follows from."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    kind: Kind = Field(description="the file's format, and for 'fsd' and 'sintel' what its colours mean")
    per_px: float = Field(1.0, gt=0, description="stored units a pixel of disparity: 256 in KITTI's files")
    invalid: list[float] = Field([], description="stored values that mean unknown; NaN and infinity always do")
    absolute: bool = Field(False, description="for sets that store a view's disparity as a negative number")
    key: str = Field("disparity", description="the array in an npz or HDF5 file, the channel of an EXR")
    subsample: int = Field(1, ge=1, description="stored rows and columns a pixel of the image: 2 in Spring's files")
    above: float | None = Field(None, description="px; disparity that is not above this means unknown")
    below: float | None = Field(None, description="px; disparity that is not below this means unknown")
    digits: Digits = Field("rgb", description="of the kind 'fsd': the colours in the order of the digits they hold")
    depth: Depth | None = Field(None, description="set where the file holds depth")


# Made without their validators, which would be built by every command that loads plugins.
_depth, _encoding = Depth.model_construct, Encoding.model_construct

PRESETS: dict[str, Encoding] = {
    "argoverse": _encoding(kind="png", per_px=256.0, invalid=[0.0]),
    "booster": _encoding(kind="npy", invalid=[0.0]),
    "crestereo": _encoding(kind="png", per_px=32.0, invalid=[0.0]),
    "drivingstereo": _encoding(kind="png", per_px=256.0, invalid=[0.0]),
    "drivingstereo_full": _encoding(kind="png", per_px=128.0, invalid=[0.0]),
    "dynamicreplica": _encoding(kind="png", per_px=100.0, invalid=[0.0]),
    "eth3d": _encoding(kind="pfm"),
    "fallingthings": _encoding(kind="png", invalid=[0.0], depth=_depth(focal=768.2, baseline=0.06, unit=1e-4)),
    "fsd": _encoding(kind="fsd"),
    "instereo2k": _encoding(kind="png", per_px=100.0, invalid=[0.0]),
    "kitti": _encoding(kind="png", per_px=256.0, invalid=[0.0]),
    "middlebury": _encoding(kind="pfm"),
    "middlebury2006": _encoding(kind="png", invalid=[0.0]),
    "nerfstereo": _encoding(kind="png", per_px=64.0, invalid=[0.0]),
    "sceneflow": _encoding(kind="pfm", absolute=True),
    "sintel": _encoding(kind="sintel"),
    "spring": _encoding(kind="dsp5", subsample=2),
    "tartanair": _encoding(kind="npy", depth=_depth(focal=320.0, baseline=0.25)),
    "unrealstereo4k": _encoding(kind="npy"),
    "vkitti2": _encoding(kind="png", invalid=[65535.0], depth=_depth(focal=725.0087, baseline=0.532725, unit=0.01)),
}
"""The encodings of known data sets by name."""

SUFFIXES: dict[str, Kind] = {
    ".pfm": "pfm",
    ".png": "png",
    ".npy": "npy",
    ".npz": "npz",
    ".dsp5": "dsp5",
    ".h5": "dsp5",
    ".hdf5": "dsp5",
    ".exr": "exr",
}
"""The kind that a file's suffix tells; a PNG may also be 'fsd' or 'sintel'."""

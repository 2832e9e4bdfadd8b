"""What `--export` may say about each format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from engine_stereo.options import Options


class KittiOptions(Options):
    """Options of `kitti`."""

    year: Literal[2012, 2015] = Field(2015, description="the benchmark; that of 2015 wants a folder disp_0")


class MiddleburyOptions(Options):
    """Options of `middlebury`."""

    method: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = Field(description="the short name of the submission")
    resolution: Literal["F", "H", "Q"] = Field(description="full, half or quarter size, as the data were read")
    split: Literal["training", "test"] = Field("test", description="as the data were read")


class ETH3DOptions(Options):
    """`eth3d` has none."""


class ErrorMapOptions(Options):
    """Options of `error_maps`."""

    colours: Literal["px", "kitti"] = Field(
        "px", description="eight classes of px from blue to yellow, or the ten of KITTI from blue (right) to red"
    )


class MapsOptions(Options):
    """Options of `maps`."""

    min_confidence: float = Field(
        0.5, ge=0, le=1, description="the point cloud has pixels that are at least this confident, and as visible"
    )


class PseudoLabelOptions(Options):
    """Options of `pseudo_labels`."""

    min_confidence: float = Field(
        0.5, ge=0, le=1, description="pixels of less are unknown, of networks that tell their confidence"
    )
    mirrored: Path | None = Field(
        None, description="what this format wrote of the mirrored pairs: pixels whose two views disagree are unknown"
    )
    within: float = Field(1.0, gt=0, description="px; by more the disparities of the two views disagree")

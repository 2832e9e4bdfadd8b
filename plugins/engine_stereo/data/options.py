"""What a recipe may say about any data set that is made of files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from engine_stereo.data.buckets import CutOptions
from engine_stereo.options import Options

Row3 = tuple[float, float, float]


class PolarimetryOptions(Options):
    """How the files of polarisation were taken: the same for every example."""

    mosaic: Literal["interpolate", "decimate"] = Field(
        "interpolate",
        description="raw mosaics: every angle between its own pixels at full size, or one pixel a cell (2 x 2, and "
        "4 x 4 of colour)",
    )
    white: int | None = Field(
        None,
        ge=1,
        description="stored value of a full sensor, such as 4095; the most that the file can hold by default",
    )
    angle_sign: Literal[1, -1] = Field(
        1, description="-1 where angles grow clockwise, as the camera's mount can make them"
    )
    angle_left: float = Field(
        0.0, description="degrees counter-clockwise from the left picture's x axis to the 0 of its polariser"
    )
    angle_right: float = Field(0.0, description="the same of the right camera")
    rectification_left: tuple[Row3, Row3, Row3] | None = Field(
        None, description="rotation by which the left files were rectified, R1 of OpenCV's stereoRectify"
    )
    rectification_right: tuple[Row3, Row3, Row3] | None = Field(None, description="R2, the same of the right camera")


class CurateOptions(Options):
    """Which examples are left out because of what was measured on them."""

    figures: Path = Field(description="a CSV of `engine eval --per-image` on these examples")
    column: str = Field("bad2/all", description="its column to look at")
    most: float = Field(60.0, description="examples with more than this are left out, and those without a figure")


class FramesOptions(CutOptions):
    """Which of a set's examples are taken, and what is done to each before anything else."""

    part: Literal["all", "train", "val"] = Field(
        "all", description="all scenes, or the ones on one side of a split by the scenes' names"
    )
    val_share: float = Field(0.1, gt=0, lt=1, description="share of the scenes whose part is 'val'")
    split_seed: int = Field(0, ge=0, description="another seed, another split")
    limit: int | None = Field(None, ge=1, description="only this many examples, the first ones of the part")
    scale: float = Field(1.0, gt=0, le=1, description="0.5 halves the pictures and with them every disparity")
    curate: CurateOptions | None = Field(None, description="leaves out examples that a network does not agree with")
    right_truth: bool = Field(False, description="also the right view's disparity_right and valid_right, where stored")
    polarimetry: PolarimetryOptions | None = Field(
        None, description="mosaics, angles and rectification of the cameras, in sets with polarisation"
    )

    @property
    def both_truths(self) -> bool:
        """Whether the right view's truth is read: asked for, or needed to mirror examples."""
        return self.right_truth or (self.augment is not None and self.augment.flip_horizontal > 0)


class ManifestOptions(FramesOptions):
    """Options of the data set `manifest`."""

    file: Path = Field(description="the list of files: .csv, .jsonl or .toml")
    root: Path | None = Field(None, description="where its relative paths begin; the manifest's folder by default")


class PairOptions(Options):
    """What `engine predict` takes for models of disparity; paths may be folders, or patterns with stars."""

    left: str = Field(description="the left picture, a folder of them, or a pattern")
    right: str = Field(description="the right picture: where the left has stars or is a folder, its partners")
    pol: tuple[str, ...] | str | None = Field(
        None, description="the files of polarisation: those of the left view, then those of the right"
    )
    layout: str | None = Field(None, description="how they are stored, as 'polarization_layout' of a manifest")
    polarimetry: PolarimetryOptions | None = Field(None, description="how they were taken")
    calibration: str | None = Field(
        None, description="Middlebury's calib.txt, KITTI's, OpenCV's XML or stereodemo's JSON; gives a point cloud"
    )
    focal: float | None = Field(None, description="focal length, px, in place of a file")
    baseline: float | None = Field(None, description="distance of the cameras, m")
    doffs: float | None = Field(None, description="x of the right principal point minus the left's, px")

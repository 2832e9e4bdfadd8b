"""What a recipe may say about any data set that is made of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from engine_stereo.options import Options

Side = Annotated[int, Field(ge=1)]


class FramesOptions(Options):
    """Which of a set's examples are taken, and what is done to each before anything else."""

    part: Literal["all", "train", "val"] = Field(
        "all", description="all scenes, or the ones on one side of a split by the scenes' names"
    )
    val_share: float = Field(0.1, gt=0, lt=1, description="share of the scenes whose part is 'val'")
    split_seed: int = Field(0, ge=0, description="another seed, another split")
    limit: int | None = Field(None, ge=1, description="only this many examples, the first ones of the part")
    scale: float = Field(1.0, gt=0, le=1, description="0.5 halves the pictures and with them every disparity")
    crop: tuple[Side, Side] | None = Field(
        None, description="[height, width] in px after scaling; at random in training, the middle in evaluation"
    )


class ManifestOptions(FramesOptions):
    """Options of the data set `manifest`."""

    file: Path = Field(description="the list of files: .csv, .jsonl or .toml")
    root: Path | None = Field(None, description="where its relative paths begin; the manifest's folder by default")

"""What a recipe may say about each tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrackerOptions(BaseModel):
    """What they have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class TensorBoardOptions(TrackerOptions):
    """Event files that `tensorboard --logdir` shows."""

    folder: Path | None = Field(
        None, description="a folder for the event files, one in it for each run; by default in the run's own directory"
    )


class MLflowOptions(TrackerOptions):
    """A local folder or a server; by default what MLFLOW_TRACKING_URI says, else the folder mlruns."""

    uri: str | None = Field(None, min_length=1, description='"http://host:5000", or "sqlite:///file.db" (whole mlflow)')
    folder: Path | None = Field(None, description="a folder that MLflow keeps its files in")
    experiment: str | None = Field(None, min_length=1, description="the recipe's name by default")

    @model_validator(mode="after")
    def _one_place(self) -> MLflowOptions:
        if self.uri is not None and self.folder is not None:
            raise ValueError("uri and folder are two places; give one of them")
        return self


class WandbOptions(TrackerOptions):
    """Weights & Biases; a key comes from `wandb login` or WANDB_API_KEY, never from a recipe."""

    project: str | None = Field(None, min_length=1, description="the recipe's name by default")
    entity: str | None = Field(None, min_length=1, description="the team or user that the project belongs to")
    mode: Literal["online", "offline"] = Field("online", description="offline: into a folder, for `wandb sync`")
    folder: Path | None = Field(None, description="where wandb keeps its files; by default in the run's directory")


class TrackioOptions(TrackerOptions):
    """Trackio, which keeps figures on this machine; `trackio show` opens them."""

    project: str | None = Field(None, min_length=1, description="the recipe's name by default")
    space: str | None = Field(None, min_length=1, description="a Hugging Face Space to send to, owner/name")

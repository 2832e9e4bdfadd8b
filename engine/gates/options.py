"""Options of the built-in gates; importing this file needs neither torch nor numpy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FeasibilityOptions(BaseModel):
    """What the feasibility gate measures and how much data it asks for."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    region: str | None = Field(None, description="boolean batch field that limits the pixels; default: all valid ones")
    strata: list[str] = Field([], description="boolean batch fields, one table row each")
    statistic: Literal["mean", "median", "q90"] = Field(
        "mean", description="statistic of |residual| that the bound must reach (design rule)"
    )
    rho: float = Field(0.9, gt=0, le=1, description="share of the bound that a saturating head reaches comfortably")
    negligible: float = Field(0.1, ge=0, description="base error, in the target's units, below which nothing is gained")
    minimum_images: int = Field(30, ge=1, description="fewer usable images leave the verdict undetermined")
    minimum_scenes: int = Field(10, ge=1, description="fewer scenes, where their ids are known, do so too")
    train_images: int = Field(64, ge=0, description="training images for the held-out / train ratio; 0 skips it")
    unit: str = Field("", description="unit of the target, for reports")


class ThresholdOptions(BaseModel):
    """A limit on one metric."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    metric: str = Field(description="name of the metric as it appears in the evaluation")
    max: float | None = Field(None, description="largest value that passes")
    min: float | None = Field(None, description="smallest value that passes")
    warp: Literal["gt", "pred"] = Field("pred", description="what aligns the auxiliary signal while measuring")
    of: Literal["corrected", "base"] = Field("corrected", description="the system's answer, or its base's alone")

    @model_validator(mode="after")
    def _has_consistent_limits(self) -> ThresholdOptions:
        if self.max is None and self.min is None:
            raise ValueError("a threshold needs max, min or both")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} lies above max {self.max:g}: no value can pass")
        return self

"""The options of everything this plugin registers, and the metric names that follow from them."""

from __future__ import annotations

from typing import Annotated

from engine_stereo.regions import Region
from pydantic import BaseModel, ConfigDict, Field, model_validator


class Options(BaseModel):
    """Options that refuse names they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class CorrectionOptions(Options):
    """Options of the injection `polarization`."""

    max_correction: float = Field(gt=0, description="px at full resolution; no pixel is moved further than this")
    width: int = Field(32, ge=1, description="channels of each layer")
    dilations: list[Annotated[int, Field(ge=1)]] = Field(
        [1, 2, 4, 8, 4, 1], min_length=1, description="one 3 x 3 layer for each, with its taps this many pixels apart"
    )


class DiagnosticsOptions(Options):
    """Options of the metric `correction`."""

    region: Region = Field(
        "transparent", description="masks joined by '&'; all valid pixels where the data lacks a mask"
    )


class SaturationOptions(Options):
    """Options of the gate `saturation`: beyond the healthy figure it warns, beyond the other it fails."""

    region: Region = Field("transparent", description="the region of the metric `correction`")
    healthy_sat95: float = Field(0.05, ge=0, le=1, description="share of pixels at more than 95 % of the bound")
    max_sat95: float = Field(0.20, ge=0, le=1, description="more than this share fails")
    healthy_spread: float = Field(0.3, ge=0, description="spread of the correction by that of the error to correct")
    min_spread: float = Field(0.1, ge=0, description="less than this fails")
    healthy_slope: float = Field(0.5, ge=0, le=1, description="mean slope of tanh, the share of gradient that passes")
    min_slope: float = Field(0.1, ge=0, le=1, description="less than this fails")

    @model_validator(mode="after")
    def _ordered(self) -> SaturationOptions:
        if self.healthy_sat95 > self.max_sat95:
            raise ValueError("healthy_sat95 must not exceed max_sat95")
        for name in ("spread", "slope"):
            if getattr(self, f"healthy_{name}") < getattr(self, f"min_{name}"):
                raise ValueError(f"healthy_{name} must not be below min_{name}")
        return self


class SignalUseOptions(Options):
    """Options of the gate `signal_use`."""

    metric: str = Field("epe/transparent", description="the error that the correction should lower, in px")
    healthy: float = Field(0.5, description="at least this share of the gain must be lost when the signal is shuffled")
    alarm: float = Field(0.2, description="below this share the gain comes from elsewhere")
    min_gain: float = Field(0.02, ge=0, description="px; a smaller gain is noise, and its share means nothing")

    @model_validator(mode="after")
    def _ordered(self) -> SignalUseOptions:
        if self.healthy < self.alarm:
            raise ValueError("healthy must not be below alarm")
        return self


class WarpGapOptions(Options):
    """Options of the gate `warp_gap`."""

    metric: str = Field("epe/transparent", description="the error to compare, in px")
    max_gap: float = Field(0.5, ge=0, description="px; how much worse the predicted alignment may be than the true one")


class ReportPicturesOptions(Options):
    """The pictures `polarization` have none."""


DIAGNOSTICS = ("sat95", "slope", "raw_median", "raw_q95", "raw_q99", "spread", "fit", "gain", "harm", "harm_px")


def diagnostic_names(options: DiagnosticsOptions) -> list[str]:
    """The metric names of `correction`: `sat95/transparent` and so on."""
    return [f"{name}/{options.region}" for name in DIAGNOSTICS]


def saturation_needs(options: SaturationOptions) -> list[str]:
    """The metrics that the gate `saturation` reads."""
    return [f"{name}/{options.region}" for name in ("sat95", "spread", "slope")]


def metric_needs(options: SignalUseOptions | WarpGapOptions) -> list[str]:
    """The one metric that the gates `signal_use` and `warp_gap` read."""
    return [options.metric]

"""The options of everything this plugin registers, and the metric names that follow from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine_stereo.regions import Region

Quantity = Literal["epe", "bad", "d1", "a50", "a90", "a95", "a99", "rmse", "bias"]
Pixels = Annotated[float, Field(gt=0)]


class Options(BaseModel):
    """Options that refuse names they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class DisparityL1Options(Options):
    """Options of `disparity_l1`."""

    within_bound: Pixels | None = Field(
        None,
        description="px; count only pixels that the injection can repair: base error at most this. No effect on a base "
        "without injection",
    )


class DisparitySmoothL1Options(DisparityL1Options):
    """Options of `disparity_smooth_l1`."""

    beta: Pixels = Field(1.0, description="px; quadratic below this error, linear above")


class SequenceOptions(Options):
    """Options of `sequence`."""

    gamma: float = Field(0.9, gt=0, le=1, description="an estimate weighs this much less than the next one")
    beta: float = Field(0.0, ge=0, description="px; 0 is L1, more is smooth L1 with a quadratic part of this size")
    rule: Literal["power", "spread"] = Field(
        "power",
        description="gamma^(n-1-i) for estimate i of n, or gamma^(15 (n-1-i)/(n-1)): the same range for any n",
    )
    weights: list[Annotated[float, Field(ge=0)]] | None = Field(
        None, min_length=1, description="one for each estimate, the first one first, in place of a rule"
    )
    average: Literal["pixels", "samples"] = Field(
        "pixels", description="over all valid pixels alike, or of each sample first: with beta = 0 that is the EPE"
    )
    below: Pixels | None = Field(None, description="px; a truth that is not below this counts as unknown")


class InitialOptions(Options):
    """Options of `initial_disparity`."""

    beta: float = Field(1.0, ge=0, description="px; 0 is L1, more is smooth L1 with a quadratic part of this size")
    at: Literal["own", "full"] = Field(
        "own",
        description="compared in its own px with the truth at every s-th pixel, or interpolated to full resolution",
    )
    below: Pixels | None = Field(None, description="px of full resolution; a truth that is not below counts as unknown")


class PhotometricOptions(Options):
    """Options of `photometric`."""

    structure: float = Field(0.85, ge=0, le=1, description="share of structural dissimilarity; the rest is difference")


class SmoothnessOptions(Options):
    """Options of `smoothness`."""

    edges: float = Field(
        10.0, ge=0, description="how much a change of the picture, 0 to 1, excuses one of the disparity"
    )


class EdgeOptions(Options):
    """Options of `disparity_edges`."""

    distances: list[Annotated[int, Field(ge=1)]] = Field(
        [1, 2, 4], min_length=1, description="px between the two pixels of a pair"
    )


class ConfidenceOptions(Options):
    """Options of `confidence_bce`."""

    threshold: Pixels = Field(4.0, description="px; an estimate within this of the truth should be called confident")


class LaplaceOptions(Options):
    """Options of `laplace`."""

    threshold: Pixels = Field(
        4.0, description="px; what a model that answers a confidence and no scale calls right, as in `confidence_bce`"
    )


class UncertaintyOptions(Options):
    """Options of the injection `uncertainty`."""

    width: int = Field(16, ge=1, description="channels of its layers")
    threshold: Pixels = Field(4.0, description="px; its confidence is the probability that the error is below this")


class VisibilityOptions(Options):
    """`visibility_bce` has none."""


class ErrorOptions(Options):
    """Options of the metric `epe`."""

    regions: list[Region] = Field(
        ["all"], min_length=1, description="masks joined by '&', '~' for not: transparent&noc"
    )
    quantities: list[Quantity] = Field(["epe"], min_length=1, description="what to measure in each region")
    taus: list[Pixels] = Field([1.0, 2.0, 3.0], min_length=1, description="px; the thresholds of 'bad'")
    full_resolution: bool = Field(
        False, description="count in px of the stored truth where the data are scaled, as benchmarks do"
    )


class MotorcycleOptions(Options):
    """Options of the data set `motorcycle`."""

    scale: float = Field(1.0, gt=0, le=1, description="size relative to the shipped 741 x 500 pixels")


class ReportPicturesOptions(Options):
    """The pictures `disparity` have none."""


def error_names(options: ErrorOptions) -> list[str]:
    """The metric names of `epe`, in the order in which they are produced: `epe/all`, `bad2/transparent&noc`."""
    names = []
    for region in options.regions:
        for quantity in options.quantities:
            shown = [f"bad{tau:g}" for tau in options.taus] if quantity == "bad" else [quantity]
            names += [f"{name}/{region}" for name in shown]
        names.append(f"nonfinite/{region}")
    return names


class StereoInspectionOptions(Options):
    """Options of the inspection `stereo`; there is nothing to choose."""

"""What a recipe may say about the network and its losses."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class S2M2Options(_Options):
    """The network: S, M, L and XL fit the published weights, nano is for training on a CPU."""

    size: Literal["nano", "S", "M", "L", "XL"] = Field(
        "nano", description="number of parameters: 2, 27, 80, 181, 406 M"
    )
    refine_iter: int | None = Field(
        None, ge=0, le=32, description="rounds of local refinement; default 2 for nano and 3 for the others"
    )
    use_positivity: bool = Field(True, description="only matches of non-negative disparity")
    checkpointing: bool = Field(False, description="recompute activations in the backward pass to save memory")


class PMCOptions(_Options):
    """Probabilistic mode concentration: matching probability must lie near the true disparity."""

    neighbourhood: int = Field(
        1, ge=0, le=8, description="candidates are widened by this many quarter-resolution columns to either side"
    )
    # Three rounds of transport leave even the clearest match 0.84 of its mass, so less than 0.16 could never be met.
    epsilon: float = Field(0.2, ge=0, lt=1, description="probability that may lie elsewhere at no cost")


class DisparityOptions(_Options):
    """Distance of all disparity estimates from the truth, in px at full resolution."""

    kind: Literal["l1", "smooth_l1"] = Field("smooth_l1", description="smooth_l1 is quadratic below 1 px")
    gamma: float = Field(
        0.9, gt=0, le=1, description="each estimate weighs this factor less than the one after it; the last weighs 1"
    )


class VisibilityOptions(_Options):
    """Cross-entropy of the visibility maps; there is nothing to choose."""


class ConfidenceOptions(_Options):
    """Cross-entropy of the confidence maps."""

    threshold: float = Field(4.0, gt=0, description="an estimate is right when its error is below this many px")

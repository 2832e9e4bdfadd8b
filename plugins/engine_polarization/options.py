"""The options of everything this plugin registers, and the metric names that follow from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Options that refuse names they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CorrectionOptions(Options):
    """Options of the injection `polarization`."""

    max_correction: float = Field(gt=0, description="px at full resolution; no pixel is moved further than this")
    width: int = Field(32, ge=1, description="channels of each layer")
    dilations: list[Annotated[int, Field(ge=1)]] = Field(
        [1, 2, 4, 8, 4, 1], min_length=1, description="one 3 x 3 layer for each, with its taps this many pixels apart"
    )

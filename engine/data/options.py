"""The options of the engine's own data sets, and `InnerData` for options models of plugins that take data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.plugin_table import InnerData

__all__ = ["InnerData", "MixOptions", "MixedSet", "SubsetOptions", "ZarrOptions"]

Side = Annotated[int, Field(ge=1)]


class MixedSet(InnerData):
    """One set of a mix: a data set's own table, and how likely a draw is to come from it."""

    probability: Annotated[float, Field(gt=0, le=1)]


class MixOptions(BaseModel):
    """Options of the data set `mix`."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    sets: list[MixedSet] = Field(min_length=1, description="data sets, each with the probability of its samples")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = sum(each.probability for each in self.sets)
        # 1e-6 forgives decimal shares such as thirds, and nothing that anyone would write on purpose.
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the probabilities sum to {total:g}; expected a sum of 1")
        return self


class SubsetOptions(BaseModel):
    """Options of the data set `subset`."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    of: InnerData = Field(description="the table of another data set")
    count: int = Field(ge=1, description="samples that are chosen")
    seed: int | None = Field(None, ge=0, description="chosen at random by this; the first ones without it")
    rest: bool = Field(False, description="all but the chosen ones instead")


class ZarrOptions(BaseModel):
    """A store that `engine data pack` made.

    path: its folder. url: where it is instead, in any protocol that fsspec knows. crop: rows and columns of a window,
    the same for every field, at a random place in training and in the middle otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    path: Path | None = None
    url: Annotated[str, Field(pattern="://")] | None = None
    crop: tuple[Side, Side] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("a store is at a path or at a url; expected one of them")
        return self

"""Sizes of training examples that are drawn anew for each batch, so that one stage trains on many of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from engine_stereo.data.augment_options import Augment, Factors, Side, Sides
from engine_stereo.options import Options

if TYPE_CHECKING:
    import numpy as np


class Buckets(Options):
    """Sizes in training: each batch has one, the same in every process. Evaluation sees whole pictures."""

    area: Sides | None = Field(None, description="[least, most] px of a size; twice and half are as likely")
    aspect: Factors = Field((0.5, 2.0), description="[least, most] width / height, of areas")
    multiple: Side = Field(32, description="px; both sides are multiples of this, as near to the area as they come")
    sizes: list[tuple[Side, Side]] | None = Field(
        None, min_length=1, description="[height, width] px each, all as likely, in place of areas"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.area is None) == (self.sizes is None):
            raise ValueError("sizes are drawn from an area or from a list; expected one of 'area' and 'sizes'")
        for height, width in self.sizes or []:
            if height % self.multiple or width % self.multiple:
                raise ValueError(f"{height} x {width} px is no size in multiples of {self.multiple} px")
        return self

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Height and width, px, of the batch that `rng` draws a sample for."""
        from engine.data.draws import of_batch  # numpy is not imported for a list of plugins

        shared = of_batch(rng)
        if self.sizes is not None:
            return self.sizes[int(shared.integers(len(self.sizes)))]
        assert self.area is not None, "validated"
        area, aspect = (math.exp(shared.uniform(*map(math.log, bounds))) for bounds in (self.area, self.aspect))
        height, width = math.sqrt(area / aspect), math.sqrt(area * aspect)
        return self._near(height), self._near(width)

    def _near(self, side: float) -> int:
        return max(1, round(side / self.multiple)) * self.multiple


class CutOptions(Options):
    """What of an example is taken, and what is done to it in training."""

    crop: tuple[Side, Side] | None = Field(
        None, description="[height, width] in px after scaling; at random in training, the middle in evaluation"
    )
    buckets: Buckets | None = Field(None, description="sizes of batches in training, in place of crop")
    augment: Augment | None = Field(None, description="random changes in training, between scale and crop")

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.crop is not None and self.buckets is not None:
            raise ValueError("crop is one size and buckets are several; expected one of them")
        return self

    def window(self, rng: np.random.Generator) -> tuple[int, int] | None:
        """Height and width, px, of what a draw is cut to; None for all of it."""
        return self.crop if self.buckets is None else self.buckets.draw(rng)

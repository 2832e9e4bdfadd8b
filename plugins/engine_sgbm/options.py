"""What a recipe may say about OpenCV's matcher."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class SGBMOptions(BaseModel):
    """Semi-global block matching; `docs/data.md` has the figures that the defaults give on known pairs."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    min_disparity: int = Field(0, description="px; the smallest disparity that is looked for")
    num_disparities: int | None = Field(
        None, ge=16, multiple_of=16, description="px; how many are looked for; an eighth of the width by default"
    )
    block_size: int = Field(5, ge=1, le=21, description="px; odd side of the blocks compared")
    p1: int | None = Field(None, ge=0, description="cost of a step of 1 px; 8 * block_size^2 by default")
    p2: int | None = Field(None, ge=1, description="cost of a greater step; 32 * block_size^2 by default")
    uniqueness: int = Field(0, ge=0, le=100, description="percent by which the best match must beat the next one")
    speckle_window: int = Field(100, ge=0, description="px; smaller islands are dropped; 0 keeps all")
    speckle_range: int = Field(32, ge=0, description="px of disparity within which pixels are one island")
    mode: Literal["sgbm", "hh", "3way"] = Field("sgbm", description="5, 8 or 3 directions of aggregation")

    @field_validator("block_size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("a block has a centre, so its side is odd")
        return size

    @model_validator(mode="after")
    def _steps(self) -> SGBMOptions:
        if self.p1 is not None and self.p2 is not None and self.p2 <= self.p1:
            raise ValueError("p2, the cost of a greater step, must be more than p1")
        return self

    def searched(self, width: int) -> int:
        """How many disparities are looked for in pictures of `width` px, a multiple of 16."""
        return self.num_disparities or max(16, (width // 8 + 15) // 16 * 16)

    def reach(self, size: tuple[int, int]) -> tuple[float, float]:
        """The least and the greatest disparity, px, that is found in pictures of (height, width)."""
        return self.min_disparity, self.min_disparity + self.searched(size[1]) - 1

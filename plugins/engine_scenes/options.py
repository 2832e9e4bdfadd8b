"""What a recipe may say about the data set."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Split = Literal["train", "val", "test"]


class SceneOptions(BaseModel):
    """Which scenes are rendered, how large, and what the camera does to them.

    split: scenes of different splits never coincide. count: number of scenes. seed: another seed, other scenes.
    height, width: image size in px; focal length and with it every disparity grow with the width.
    transparent: false turns every glass object of the same world into an opaque one.
    noise: standard deviation of the read noise on each of the four polariser intensities, in units of full scale.
    shot_noise: the same for the shot noise of a pixel at full scale; it shrinks with the root of the intensity.
    crop: (height, width) of the random crop that training sees; evaluation always sees the whole image.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)

    split: Split = "train"
    count: int = Field(default=200, ge=1)
    seed: int = Field(default=0, ge=0)
    height: int = Field(default=128, ge=16)
    width: int = Field(default=160, ge=16)
    transparent: bool = True
    noise: float = Field(default=0.01, ge=0, le=1)
    shot_noise: float = Field(default=0.005, ge=0, le=1)
    crop: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop is None:
            return self
        height, width = self.crop
        if not (1 <= height <= self.height and 1 <= width <= self.width):
            raise ValueError(f"crop {height} x {width} does not fit in the image of {self.height} x {self.width} px")
        return self

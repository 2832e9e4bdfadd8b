"""What a recipe may say about random changes to the examples that training sees."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from engine_stereo.options import Options


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"{bounds[0]:g} to {bounds[1]:g} is no range; expected the smaller number first")
    return bounds


Share = Annotated[float, Field(ge=0, le=1)]
Above = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(ge=1)]
Factors = Annotated[tuple[Above, Above], AfterValidator(_ordered)]
Shares = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
Sides = Annotated[tuple[Side, Side], AfterValidator(_ordered)]


class Colour(Options):
    """Changes of the pictures' colours; polarisation is a ratio of intensities and has none."""

    brightness: Share = Field(0.0, description="0.4: times 0.6 to 1.4")
    contrast: Share = Field(0.0, description="0.4: the distance from mid-grey times 0.6 to 1.4")
    saturation: Share = Field(0.0, description="0.4: the distance from grey times 0.6 to 1.4")
    hue: float = Field(0.0, ge=0, le=0.5, description="0.1: turned by up to a tenth of the colour circle, either way")
    gamma: Factors = Field((1.0, 1.0), description="the power of a stored value, which counts from 0 to 1")
    asymmetric: Share = Field(0.0, description="probability that each view is changed in a way of its own")


class Noise(Options):
    """Noise of the sensor, on the four intensities behind a polariser where there are any."""

    read: Shares = Field((0.0, 0.0), description="standard deviation, the share of full scale")
    shot: Shares = Field((0.0, 0.0), description="the same of light at full scale; it follows the root of the light")


class Erase(Options):
    """Rectangles of the right view that hold its mean colour: what is there has no match."""

    probability: Share = Field(0.5, description="how likely an example has any")
    count: Side = Field(2, description="at most so many")
    size: Sides = Field((50, 100), description="[least, most] px of either side")


class Blur(Options):
    """Less sharp pictures, as of a lens out of focus; polarisation is of the blurred light."""

    probability: Share = Field(0.5, description="how likely an example is blurred")
    sigma: Factors = Field((0.3, 1.5), description="[least, most] px of the Gaussian's standard deviation")
    asymmetric: Share = Field(0.0, description="probability that each view has a blur of its own")


class Jpeg(Options):
    """Pictures as a JPEG file gives them back; polarisation is measured before and stays."""

    probability: Share = Field(0.5, description="how likely an example is compressed")
    quality: Sides = Field((30, 95), description="[least, most] of 1 to 100, drawn for each view")

    @field_validator("quality")
    @classmethod
    def _known(cls, quality: tuple[int, int]) -> tuple[int, int]:
        if quality[1] > 100:
            raise ValueError(f"a quality of {quality[1]}; expected 1 to 100")
        return quality


class Augment(Options):
    """Random changes to every example in training; what is left out is not done. Evaluation sees none of them."""

    flip_horizontal: Share = Field(
        0.0,
        description="probability of the mirrored scene; the views change places, so it needs the right view's truth",
    )
    flip_vertical: Share = Field(0.0, description="probability of the scene upside down")
    scale: Factors | None = Field(
        None, description="[least, most] times the size, and disparity with it; a crop raises the least that it needs"
    )
    stretch: Factors | None = Field(
        None, description="[least, most] times the height, and drawn again the width, after scale"
    )
    y_jitter: float = Field(
        0.0, ge=0, le=16, description="px; rows of the right view move up or down by this at most, tilted"
    )
    colour: Colour | None = Field(None, description="of the pictures")
    blur: Blur | None = Field(None, description="of the lens")
    noise: Noise | None = Field(None, description="of the sensor")
    jpeg: Jpeg | None = Field(None, description="of the files")
    erase: Erase | None = Field(None, description="rectangles of the right view")

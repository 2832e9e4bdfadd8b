"""What a recipe may say about random changes to the examples that training sees."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

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
    y_jitter: float = Field(
        0.0, ge=0, le=16, description="px; rows of the right view move up or down by this at most, tilted"
    )
    colour: Colour | None = Field(None, description="of the pictures")
    noise: Noise | None = Field(None, description="of the sensor")
    erase: Erase | None = Field(None, description="rectangles of the right view")

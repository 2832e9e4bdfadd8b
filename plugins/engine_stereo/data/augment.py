"""Random changes to an example, the same for the same random numbers."""

from __future__ import annotations

import math

import numpy as np

from engine.contracts import Sample
from engine.errors import InputError
from engine_stereo.data.augment_geometry import displaced, mirrored, twins_missing, upside_down, without_right_truth
from engine_stereo.data.augment_light import coloured, erased, exposed
from engine_stereo.data.augment_options import Augment
from engine_stereo.data.reading import cropped, scaled


def augmented(
    sample: Sample, augment: Augment, rng: np.random.Generator, crop: tuple[int, int] | None = None
) -> Sample:
    """An example as training sees it: moved, cut to `crop` (height, width), then changed in colour.

    Every truth stays true: `right` at x - disparity is `left` at x. Fields `ANY_right` are told of the right view;
    mirroring needs them, and they are left out in the end. InputError for a mirrored example without them, and for a
    crop that does not fit.
    """
    if augment.flip_horizontal:
        if missing := twins_missing(sample):
            what = f"flip_horizontal makes the right view the left one, and {sample.get('id', 'an example')} has no"
            raise InputError(
                f"{what} {', '.join(missing)}", "tell the right view's truth, or leave flip_horizontal out"
            )
        if rng.random() < augment.flip_horizontal:
            sample = mirrored(sample)
    sample = without_right_truth(sample)
    if augment.flip_vertical and rng.random() < augment.flip_vertical:
        sample = upside_down(sample)
    if augment.scale is not None:
        sample = scaled(sample, _factor(sample, augment.scale, crop, rng))
        sample.pop("scale", None)  # figures in stored px are told of the data, not of what was drawn
    if augment.y_jitter:
        sample = displaced(sample, *rng.uniform(-augment.y_jitter, augment.y_jitter, 2))
    if crop is not None:
        sample = cropped(sample, crop, rng)
    if augment.colour is not None:
        sample = coloured(sample, augment.colour, rng)
    if augment.noise is not None:
        sample = exposed(sample, rng.uniform(*augment.noise.read), rng.uniform(*augment.noise.shot), rng)
    if augment.erase is not None and rng.random() < augment.erase.probability:
        sample = erased(sample, augment.erase, rng)
    return sample


def cut_after_base(
    sample: Sample, augment: Augment | None, rng: np.random.Generator, crop: tuple[int, int] | None
) -> Sample:
    """A whole example with the base's answer to it as training sees it: upside down or not, cut to `crop`.

    InputError for changes that the base would have to see, and for a crop that does not fit.
    """
    if augment is not None:
        if refused := [f"{name}, {why}" for name, why in _BEFORE_BASE.items() if getattr(augment, name)]:
            what = f"the base's answer does not follow {'; '.join(refused)}"
            raise InputError(what, 'leave it out, or let the base see it with augment = "before-cache"')
        sample = without_right_truth(sample)
        if augment.flip_vertical and rng.random() < augment.flip_vertical:
            sample = upside_down(sample)
    return sample if crop is None else cropped(sample, crop, rng)


_BEFORE_BASE = {
    "flip_horizontal": "after which it would be of the other view",
    "scale": "which changes what can be matched",
    "y_jitter": "which takes the views out of rectification",
    "colour": "which changes the pictures",
    "noise": "which changes the pictures",
    "erase": "which changes the right picture",
}
"""Options of `Augment` that change what a base sees, and why its answer cannot be changed with them."""


def _factor(
    sample: Sample, bounds: tuple[float, float], crop: tuple[int, int] | None, rng: np.random.Generator
) -> float:
    """A factor within the bounds, of which twice and half are alike, at which the crop fits if it can."""
    least, most = bounds
    factor = math.exp(rng.uniform(math.log(least), math.log(most)))
    height, width = sample["left"].shape[1:]
    needed = max(crop[0] / height, crop[1] / width) if crop is not None else 0.0
    return min(max(factor, needed), most)

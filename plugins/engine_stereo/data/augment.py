"""Random changes to an example, the same for the same random numbers."""

from __future__ import annotations

import math

import numpy as np

from engine.contracts import Sample
from engine.errors import InputError
from engine_stereo.data.augment_geometry import displaced, mirrored, twins_missing, upside_down, without_right_truth
from engine_stereo.data.augment_light import coloured, erased, exposed
from engine_stereo.data.augment_optics import blurred, compressed
from engine_stereo.data.augment_options import Augment
from engine_stereo.data.buckets import CutOptions
from engine_stereo.data.reading import cropped, scaled, sized


def shown(sample: Sample, options: CutOptions, rng: np.random.Generator | None) -> Sample:
    """An example as training sees it, or as evaluation does without `rng`; InputError as of `augmented`."""
    if rng is None or (options.augment is None and options.buckets is None):
        return sample if options.crop is None else cropped(sample, options.crop, rng)
    return augmented(sample, options.augment or Augment(), rng, options.window(rng), options.buckets is not None)


def augmented(
    sample: Sample,
    augment: Augment,
    rng: np.random.Generator,
    crop: tuple[int, int] | None = None,
    enlarge: bool = False,
) -> Sample:
    """An example as training sees it: moved, cut to `crop` (height, width), then changed in colour.

    enlarge: a picture that is smaller than the crop is made larger, as far as the crop needs, and disparity with it.

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
    if augment.stretch is not None:
        sample = _stretched(sample, augment.stretch, crop, rng)
    if enlarge and crop is not None:
        sample = _enlarged(sample, crop)
    if augment.y_jitter:
        sample = displaced(sample, *rng.uniform(-augment.y_jitter, augment.y_jitter, 2))
    if crop is not None:
        sample = cropped(sample, crop, rng)
    if augment.colour is not None:
        sample = coloured(sample, augment.colour, rng)
    if augment.blur is not None and rng.random() < augment.blur.probability:
        sample = blurred(sample, augment.blur, rng)
    if augment.noise is not None:
        sample = exposed(sample, rng.uniform(*augment.noise.read), rng.uniform(*augment.noise.shot), rng)
    if augment.jpeg is not None and rng.random() < augment.jpeg.probability:
        sample = compressed(sample, augment.jpeg, rng)
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
    "stretch": "which changes what can be matched",
    "y_jitter": "which takes the views out of rectification",
    "colour": "which changes the pictures",
    "blur": "which changes the pictures",
    "noise": "which changes the pictures",
    "jpeg": "which changes the pictures",
    "erase": "which changes the right picture",
}
"""Options of `Augment` that change what a base sees, and why its answer cannot be changed with them."""


def _factor(
    sample: Sample, bounds: tuple[float, float], crop: tuple[int, int] | None, rng: np.random.Generator
) -> float:
    """A factor within the bounds, of which twice and half are alike, at which the crop fits if it can."""
    sides = sample["left"].shape[1:]
    needed = max(asked / side for asked, side in zip(crop, sides, strict=True)) if crop is not None else 0.0
    return _drawn(bounds, needed, rng)


def _stretched(
    sample: Sample, bounds: tuple[float, float], crop: tuple[int, int] | None, rng: np.random.Generator
) -> Sample:
    """The example with a factor for each axis, at which the crop fits if it can.

    As of pixels that are no squares: disparity grows with the width alone, and angles of polarisation stay, because
    they are the camera's.
    """
    sides = sample["left"].shape[1:]
    needed = [asked / side for asked, side in zip(crop, sides, strict=True)] if crop is not None else [0.0, 0.0]
    return _unscaled(
        sample, *(round(side * _drawn(bounds, least, rng)) for side, least in zip(sides, needed, strict=True))
    )


def _enlarged(sample: Sample, crop: tuple[int, int]) -> Sample:
    """The example as large as the crop needs, and no larger."""
    height, width = sample["left"].shape[1:]
    factor = max(crop[0] / height, crop[1] / width)
    return sample if factor <= 1 else _unscaled(sample, round(height * factor), round(width * factor))


def _unscaled(sample: Sample, height: int, width: int) -> Sample:
    """The example in another size, without word of it: `scale` tells of the data, not of what was drawn."""
    resized = sized(sample, max(height, 1), max(width, 1))
    del resized["scale"]
    return resized | ({"scale": sample["scale"]} if "scale" in sample else {})


def _drawn(bounds: tuple[float, float], needed: float, rng: np.random.Generator) -> float:
    least, most = bounds
    return min(max(math.exp(rng.uniform(math.log(least), math.log(most))), needed), most)

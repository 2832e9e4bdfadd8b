"""The feasibility figures for parts of the pixels: named masks, the border, bins of the target and the confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.gates.residuals import ImageResiduals

MINIMUM_PIXELS = 50  # rows are for orientation, and an image with a handful of pixels of a kind would weigh as much
CONFIDENCE_EDGES = (0.5, 0.9)

Member = Callable[[ImageResiduals], NDArray[np.bool_]]


@dataclass(frozen=True)
class Stratum:
    """One row: images that have at least `MINIMUM_PIXELS` of the kind weigh the same; errors in the target's units."""

    name: str
    pixels: int
    images: int
    error: float
    coverage: float
    bias: float


def strata_rows(images: Sequence[ImageResiduals], usable: float) -> tuple[Stratum, ...]:
    """A row for each kind of pixel that occurs: the images' own masks, thirds of the target, bins of the confidence.

    usable: the bound that a correction reaches comfortably, in the target's units.
    """
    if not images:
        return ()
    names = dict.fromkeys(name for image in images for name in image.strata)
    kinds: list[tuple[str, Member]] = [(name, _in_mask(name)) for name in names]
    edges = np.unique(np.quantile(np.concatenate([image.target for image in images]), [1 / 3, 2 / 3]))
    kinds += _bins("target", [float(edge) for edge in edges], lambda image: image.target)
    if all(image.confidence is not None for image in images):
        kinds += _bins("confidence", CONFIDENCE_EDGES, lambda image: image.confidence)
    rows = (_row(name, member, images, usable) for name, member in kinds)
    return tuple(row for row in rows if row is not None)


def _in_mask(name: str) -> Member:
    return lambda image: image.strata.get(name, np.zeros(image.signed.size, dtype=bool))


def _bins(what: str, edges: Sequence[float], read: Callable[[ImageResiduals], Any]) -> list[tuple[str, Member]]:
    def between(low: float, high: float) -> Member:
        return lambda image: (read(image) >= low) & (read(image) < high)

    limits = [-np.inf, *edges, np.inf]
    names = [f"{what} < {edges[0]:.3g}"]
    names += [f"{what} {low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    names += [f"{what} >= {edges[-1]:.3g}"]
    return [(name, between(low, high)) for name, (low, high) in zip(names, pairwise(limits), strict=True)]


def _row(name: str, member: Member, images: Sequence[ImageResiduals], usable: float) -> Stratum | None:
    pixels = 0.0
    errors, covered, biases = [], [], []
    for image in images:
        signed = image.signed[member(image)].astype(np.float64)
        pixels += signed.size * image.pixels / image.signed.size
        finite = signed[np.isfinite(signed)]
        if finite.size < MINIMUM_PIXELS:
            continue
        errors.append(float(np.mean(np.abs(finite))))
        covered.append(float(np.mean(np.abs(signed) <= usable)))
        biases.append(float(np.mean(finite)))
    if not errors:
        return None
    means = (float(np.mean(values)) for values in (errors, covered, biases))
    return Stratum(name, round(pixels), len(errors), *means)

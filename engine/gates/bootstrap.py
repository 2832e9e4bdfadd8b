"""Bootstrap limits by resampling scenes, bias-corrected and accelerated (BCa)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Statistic = Callable[[Floats], Floats]
"""Multiplicities of the scenes, (R, S), to one value for each of the R resamples, (R,)."""

RESAMPLES = 2000  # the Monte Carlo error of a 5 % tail is then 0.5 %, well under the method's own coverage error
ROOM = 25_000_000  # numbers of the jackknife at a time, 200 MB: to 5,000 scenes all of it
SEED = 0  # fixed, and not the run's: the same residuals must always give the same verdict
ONE_SIDED = (0.05, 0.95)  # each limit holds with 95 %
TWO_SIDED = (0.025, 0.975)  # both together hold with 95 %

_NORMAL = NormalDist()


def bca(
    statistic: Statistic,
    scenes: int,
    levels: Sequence[float] = ONE_SIDED,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    draws: Floats | None = None,
) -> tuple[float, ...]:
    """Confidence limits of a statistic of independent scenes, one for each level.

    statistic: must accept any non-negative multiplicities, which also serves the jackknife; what belongs to a scene
    stays together because a scene is drawn as a whole. scenes: S. levels in [0.01, 0.99]: 0.05 gives the lower
    one-sided 95 % limit. draws: what `drawn` gave for S scenes, where several statistics share it. A statistic that no
    resample changes has its own value as every limit; with fewer than two scenes nothing is known and every limit is
    nan. Formula: B. Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987), with the acceleration from the
    jackknife.
    """
    if scenes < 2:
        return tuple(float("nan") for _ in levels)
    draws = drawn(scenes, resamples, seed) if draws is None else draws
    resamples = len(draws)
    replicates = np.sort(statistic(draws))
    value = float(statistic(np.ones((1, scenes)))[0])
    if replicates[0] == replicates[-1]:
        return tuple(float(replicates[0]) for _ in levels)
    acceleration = _acceleration(_jackknife(statistic, scenes))
    bias = _NORMAL.inv_cdf(_share_below(replicates, value))
    positions = [_adjusted(level, bias, acceleration) * resamples for level in levels]
    # Order statistics rather than interpolation: replicates may be infinite, and inf - inf is no number.
    return tuple(float(replicates[min(max(int(np.ceil(p)) - 1, 0), resamples - 1)]) for p in positions)


def drawn(scenes: int, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """How often each scene is in each resample, (R, S)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(scenes, np.full(scenes, 1.0 / scenes), size=resamples).astype(np.float64)


def scene_mean(values: Floats, scene_of: NDArray[np.intp]) -> Statistic:
    """The mean over images as a statistic of scenes.

    values: (N,), nan where an image has none; scene_of: (N,) in 0..S-1. Every image weighs the same, so a scene weighs
    as much as it has images. A resample without any defined value gives nan.
    """
    known = np.isfinite(values)
    scenes = int(scene_of.max()) + 1
    # Summed from a reference, images that are all alike give exactly their value, and no interval of rounding noise.
    reference = float(values[known][0]) if known.any() else 0.0
    sums = np.bincount(scene_of[known], weights=values[known] - reference, minlength=scenes)
    counts = np.bincount(scene_of[known], minlength=scenes).astype(np.float64)

    def statistic(multiplicities: Floats) -> Floats:
        return reference + _ratio(multiplicities @ sums, multiplicities @ counts)

    return statistic


def scene_quantile(
    samples: Sequence[Floats], scene_of: NDArray[np.intp], level: float, points: int = 1000
) -> Statistic:
    """A quantile of the image-equal mixture of the images' samples, as a statistic of scenes.

    samples: one (n_i,) array an image, +inf allowed. The mixture's distribution function is tabulated at `points`
    quantiles of each kind, which resolves levels to 1 / points.
    """
    ordered = [np.sort(sample) for sample in samples]
    # Evenly spaced levels of every image, thinned: the table must also resolve resamples made of the worst images only.
    per_image = [sample[np.ceil(np.linspace(0, 1, 65) * (sample.size - 1)).astype(int)] for sample in ordered]
    own = [sample[int(np.ceil(level * sample.size)) - 1] for sample in ordered]
    candidates = np.sort(np.concatenate(per_image))
    thinned = candidates[np.linspace(0, candidates.size - 1, min(points, candidates.size)).astype(int)]
    grid = np.unique(np.concatenate([thinned, own, candidates[-1:]]))
    scenes = int(scene_of.max()) + 1
    table = np.zeros((scenes, grid.size))
    for sample, scene in zip(ordered, scene_of, strict=True):
        table[scene] += np.searchsorted(sample, grid, side="right") / sample.size
    counts = np.bincount(scene_of, minlength=scenes).astype(np.float64)

    def statistic(multiplicities: Floats) -> Floats:
        distribution = multiplicities @ table
        reached = distribution >= (level - 1e-12) * (multiplicities @ counts)[:, None]
        return np.asarray(grid[np.argmax(reached, axis=1)], dtype=np.float64)

    return statistic


def _ratio(numerators: Floats, denominators: Floats) -> Floats:
    empty = denominators == 0
    return np.asarray(np.where(empty, np.nan, numerators / np.where(empty, 1.0, denominators)))


def _share_below(replicates: Floats, value: float) -> float:
    """The share of replicates below the value, ties half, kept off 0 and 1 where the normal quantile is infinite."""
    total = replicates.size
    below = np.searchsorted(replicates, value, side="left") + np.searchsorted(replicates, value, side="right")
    return float(np.clip(below / (2 * total), 0.5 / total, 1 - 0.5 / total))


def _jackknife(statistic: Statistic, scenes: int) -> Floats:
    """The statistic with each scene left out, (S,), some at a time: all at once would be S x S numbers."""
    every = max(ROOM // scenes, 1)
    return np.concatenate(
        [
            statistic(1.0 - np.eye(min(every, scenes - first), scenes, first, dtype=np.float64))
            for first in range(0, scenes, every)
        ]
    )


def _acceleration(left_out: Floats) -> float:
    """A sixth of the skewness of the statistic's jackknife influence; 0 when it cannot be told."""
    if not np.isfinite(left_out).all():
        return 0.0
    influence = left_out.mean() - left_out
    spread = float(np.sum(influence**2))
    return 0.0 if spread == 0 else float(np.sum(influence**3)) / (6 * spread**1.5)


def _adjusted(level: float, bias: float, acceleration: float) -> float:
    shifted = bias + _NORMAL.inv_cdf(level)
    # A jackknife skewness divided by the root of its count stays under 1, so |acceleration| < 1/6, and `shifted` stays
    # under 6 for limits of 99 % and 20,000 resamples: the denominator is positive.
    return _NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))

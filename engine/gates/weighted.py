"""Order statistics of weighted samples: quantile, best bounded constant, bound that reaches a share of the error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

# Cumulative sums of 1e5..1e7 weights lose about this much; without the slack a quantile could skip its own sample.
_ROUNDING = 1e-12


def quantile(values: Floats, weights: Floats, level: float) -> float:
    """The smallest value whose cumulative weight reaches `level` of the total: the inverse distribution function.

    values: (P,), +inf allowed. weights: (P,), >= 0. level in (0, 1]. nan when there are no values.
    """
    if values.size == 0:
        return float("nan")
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order], dtype=np.float64)
    position = int(np.searchsorted(cumulative, (level - _ROUNDING) * cumulative[-1]))
    return float(values[order[min(position, values.size - 1)]])


def best_constant(values: Floats, weights: Floats, bound: float) -> float:
    """The constant c, |c| <= bound, that minimises the weighted sum of |values - c|.

    values: (P,) finite. weights: (P,), >= 0. nan when there are no values.
    """
    # Each term w|v - c| is convex in c, so the sum is; a weighted median minimises it over the whole line. A convex
    # function of one variable is monotone on either side of a minimiser, so over an interval its minimum lies at the
    # point of the interval nearest to that minimiser: clipping is exact, not a heuristic.
    return float(np.clip(quantile(values, weights, 0.5), -bound, bound))


def bound_for_reach(magnitudes: Floats, weights: Floats, share: float) -> float:
    """The smallest bound m with sum w min(|r|, m) >= share * sum w |r|: it brings that share of the error within reach.

    magnitudes: (P,) finite, >= 0. weights: (P,), >= 0. share in [0, 1]. nan when there are no values.
    """
    if magnitudes.size == 0:
        return float("nan")
    order = np.argsort(magnitudes, kind="stable")
    sizes = magnitudes[order].astype(np.float64)
    heavy = weights[order].astype(np.float64)
    mass = np.cumsum(heavy * sizes)
    # At m = sizes[k] all samples up to k are reached whole and the heavier ones by m each; linear in between.
    reached = mass + sizes * (heavy.sum() - np.cumsum(heavy))
    return float(np.interp(share * mass[-1], np.append(0.0, reached), np.append(0.0, sizes)))

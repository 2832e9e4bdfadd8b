"""Two evaluations of the same samples: the difference on each, its mean, and how far that is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.gates.bootstrap import TWO_SIDED, Floats, bca, drawn, scene_mean

RESAMPLES = 10_000  # the Monte Carlo error of a 2.5 % tail is then 0.16 %
FEWEST = 10
"""Scenes that an interval needs. Where nothing differs, one of 2 scenes excludes 0 in half of all cases, of 5 in 15 %,
of 10 in 10 %, of 40 in 5.5 % (measured on normal differences): what is called 95 % must be near it."""
ROOM = 50_000_000  # numbers, 400 MB: with more than 5,000 scenes there are fewer resamples


@dataclass(frozen=True)
class Paired:
    """A metric on the samples on which both runs have it; `difference` is other - first.

    first, other: means over those samples. low, high: the limits of a 95 % interval of the mean difference over scenes
    (BCa bootstrap), nan with fewer than `FEWEST` scenes. lower, higher: on how many samples the other is so.
    differences: by the names of the samples.
    """

    metric: str
    first: float
    other: float
    difference: float
    low: float
    high: float
    lower: int
    higher: int
    differences: Mapping[str, float]


def paired(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[Paired]:
    """Every metric that both evaluations have, where they have a sample in common.

    An evaluation as a run keeps it: `ids`, `scenes`, and in `per_sample` a list by metric, None where it is undefined.
    Samples are paired by id; an id that comes twice is paired in the order of the evaluations.
    """
    places, others = _places(first["ids"]), _places(other["ids"])
    shared = [key for key in places if key in others]
    here, there = [places[key] for key in shared], [others[key] for key in shared]
    names = [sample if not again else f"{sample} ({again + 1})" for sample, again in shared]
    scenes = [first["scenes"][place] for place in here]
    both = [name for name in first["per_sample"] if name in other["per_sample"]]
    values = ((name, _values(first, name)[here], _values(other, name)[there]) for name in both)
    return [pair for name, one, two in values if (pair := _paired(name, one, two, names, scenes)) is not None]


def _places(ids: Sequence[str]) -> dict[tuple[str, int], int]:
    """(id, how often it came before) -> its place."""
    seen: Counter[str] = Counter()
    places = {}
    for place, name in enumerate(ids):
        places[name, seen[name]] = place
        seen[name] += 1
    return places


def _values(evaluation: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    return np.array([np.nan if each is None else each for each in evaluation["per_sample"][name]], dtype=np.float64)


def _paired(
    metric: str, first: NDArray[np.float64], other: NDArray[np.float64], names: Sequence[str], scenes: Sequence[str]
) -> Paired | None:
    known = np.isfinite(first) & np.isfinite(other)
    if not known.any():
        return None
    first, other = first[known], other[known]
    difference = other - first
    scene_of = np.unique([scene for scene, fine in zip(scenes, known, strict=True) if fine], return_inverse=True)[1]
    low, high = _interval(difference, scene_of)
    return Paired(
        metric=metric,
        first=float(first.mean()),
        other=float(other.mean()),
        difference=float(difference.mean()),
        low=low,
        high=high,
        lower=int((difference < 0).sum()),
        higher=int((difference > 0).sum()),
        differences=dict(
            zip((n for n, fine in zip(names, known, strict=True) if fine), difference.tolist(), strict=True)
        ),
    )


def _interval(difference: NDArray[np.float64], scene_of: NDArray[np.intp]) -> tuple[float, float]:
    scenes = int(scene_of.max()) + 1
    if scenes < FEWEST:
        return float("nan"), float("nan")
    low, high = bca(scene_mean(difference, scene_of), scenes, TWO_SIDED, draws=_draws(scenes))
    return low, high


@lru_cache(maxsize=2)
def _draws(scenes: int) -> Floats:
    """The resamples, which all metrics on as many scenes share: drawing them takes most of the time."""
    return drawn(scenes, min(RESAMPLES, ROOM // scenes))

"""Which disparity explains a pair of pictures: the stored one, or one that a usual mistake has made this of.

A pixel of the left picture and the one that the disparity gives it in the right picture look alike where the disparity
is right. Their mean difference under the stored disparity is held against that under each mistake, over the same
pixels, and a mistake is named only where it explains the pictures much better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

UNITS = (2.0, 3.0, 4.0, 8.0, 10.24, 16.0, 32.0, 64.0, 100.0, 128.0, 256.0)
"""Factors between the units that sets store, and between sizes of one picture; 10.24 is 1024 / 100, for hundredths."""

RESIZED = tuple(2.0 ** (step / 8) for step in range(-7, 8) if step)
"""Factors of a picture that was resized by anything: a step is 9 %, near enough to be seen, and then refined."""

BETTER = 0.75
"""A mistake is named below this share of the difference under the stored disparity.

Measured: under right truth the best mistake has 1.2 times its difference or more (36 pairs, rendered and real, among
them Motorcycle, KITTI, Aloe, FlyingThings), and under wrong truth the repair has 0.1 to 0.35 of it.
"""

EXPLAINS = 0.8
"""Below this share of the difference of unrelated pixels a disparity is said to explain a pair; right truth: 0.2."""

CHANCE = 0.95
"""Above this share of it the disparity has nothing to do with the pair."""

TELLS = 1.05
"""A stored disparity is confirmed where every mistake that can be told from it has this many times its difference."""

FEWEST = 500
"""Pixels that a comparison needs."""

SMALLEST = 0.75
"""px: where half of the disparities are smaller, a wrong factor moves too few pixels by what can be seen."""

FLAT = 2.0
"""Grey levels: a picture of less contrast (standard deviation) tells nothing."""

ROWS = 128
"""Rows that are compared, evenly spread: more take time and add no certainty."""


@dataclass(frozen=True)
class Hypothesis:
    """That the truth is `scale * stored + offset` px, between the pictures as given or exchanged."""

    scale: float = 1.0
    exchanged: bool = False
    offset: float = 0.0

    def __str__(self) -> str:
        size = abs(self.scale)
        number = f"{size:.4g}" if size >= 1 or 1 / size != round(1 / size) else f"1/{1 / size:.4g}"
        words = f"scale {'-' if self.scale < 0 else ''}{number}"
        words += f", offset {self.offset:+.1f} px" if self.offset else ""
        return words + (", views exchanged" if self.exchanged else "")

    def __call__(self, stored: Any) -> Any:
        """What the truth would be, px."""
        return stored * self.scale + self.offset


AS_STORED = Hypothesis()

Verdict = Literal["fits", "wrong", "unrelated", "undetermined"]


@dataclass(frozen=True)
class Comparison:
    """A pair under every hypothesis.

    cost: mean difference, grey levels. ratio: the cost over that of the stored disparity on the same pixels, or over
    `unrelated` where that looks out of the picture. unrelated: mean difference of pixels that have nothing to do with
    each other. inside: share of the valid pixels whose partner is in the picture. middle: median stored disparity, px.
    is_flat: the pictures show next to nothing.
    """

    cost: Mapping[Hypothesis, float]
    ratio: Mapping[Hypothesis, float]
    unrelated: float
    inside: float
    middle: float
    is_flat: bool

    @property
    def best(self) -> Hypothesis | None:
        """The mistake that explains the pair best; None where none can be told from the stored disparity."""
        return min(self.ratio, key=lambda rival: self.ratio[rival], default=None)

    @property
    def verdict(self) -> Verdict:
        """What the pair says of its disparity."""
        best = self.best
        if best is None or self.is_flat:
            return "undetermined"
        if self.ratio[best] < BETTER and self.cost[best] < EXPLAINS * self.unrelated:
            # Where next to no disparity wins, its factor is not told.
            return "wrong" if abs(best(self.middle)) >= SMALLEST else "undetermined"
        own = self.cost.get(AS_STORED, np.inf)
        halves = abs(self.middle) >= 2 * SMALLEST  # else half of it would look as right
        if halves and own < EXPLAINS * self.unrelated and min(self.ratio[each] for each in self.far()) > TELLS:
            return "fits"
        return "unrelated" if own > CHANCE * self.unrelated else "undetermined"

    def far(self) -> list[Hypothesis]:
        """Mistakes that move every pixel far: a disparity that is one number hides an exchange of the views."""
        far = [each for each in self.ratio if not each.exchanged and not 0.5 < each.scale < 2 and not each.offset]
        return far or list(self.ratio)


def compare(left: Plane, right: Plane, disparity: Plane, valid: Mask, doffs: float = 0.0) -> Comparison:
    """Hold a pair (3, H, W) and its disparity (H, W) px against every hypothesis.

    doffs: px, which a disparity made from depth may lack or have twice.
    """
    height, width = disparity.shape
    rows = np.linspace(0, height - 1, min(ROWS, height)).astype(int)
    first, second = _alike(left, right)
    contrast = float(first.std())
    pair = first[rows], second[rows]
    disparity = np.nan_to_num(disparity[rows], posinf=0, neginf=0)
    valid = valid[rows]
    known = disparity[valid]
    middle = float(np.median(known)) if known.size else 0.0
    # Rows that are far from each other show other things, in the same light.
    unrelated = float(np.abs(pair[0] - np.roll(pair[1], len(rows) // 2, axis=0))[valid].mean()) if known.size else 0.0
    stored, reached = _differences(pair, disparity, valid, AS_STORED)
    inside = float(reached.sum() / max(known.size, 1))

    cost: dict[Hypothesis, float] = {}
    ratio: dict[Hypothesis, float] = {}
    if reached.sum() >= FEWEST:
        cost[AS_STORED] = float(stored[reached].mean())

    def judge(rival: Hypothesis) -> None:
        typical, moved = abs(rival(middle)), abs(rival(middle) - middle)
        if typical > width / 2 or (moved < SMALLEST / 2 and not rival.exchanged):
            return  # too large to be meant, or the same as what is stored
        there, arrived = _differences(pair, disparity, valid, rival)
        if arrived.sum() < max(FEWEST, 0.2 * known.size):
            return
        both = arrived & reached
        cost[rival] = float(there[arrived].mean())
        if inside > 0.2 and both.sum() >= FEWEST:
            ratio[rival] = float(there[both].mean()) / max(float(stored[both].mean()), 1e-3 * contrast, 1e-9)
        else:
            ratio[rival] = cost[rival] / max(unrelated, 1e-9)

    for rival in _rivals(doffs):
        judge(rival)
    best = min(ratio, key=lambda each: ratio[each], default=None)
    if best is not None and best.scale in RESIZED and ratio[best] < 1:
        for scale in best.scale * np.geomspace(1 / 1.08, 1.08, 17):
            judge(Hypothesis(float(scale)))
    full = 1.0 if float(np.nanmax(left)) <= 1 else 255.0  # pictures from 0 to 1 are a mistake of their own
    return Comparison(cost, ratio, unrelated, inside, middle, contrast < FLAT * full / 255)


def _rivals(doffs: float) -> Iterator[Hypothesis]:
    for exchanged in (False, True):
        for sign in (1.0, -1.0):
            for scale in (1.0, *UNITS, *(1 / unit for unit in UNITS)):
                if (sign * scale, exchanged) != (1.0, False):
                    yield Hypothesis(sign * scale, exchanged)
    for scale in RESIZED:
        yield Hypothesis(scale)
    if doffs:
        yield Hypothesis(offset=doffs)
        yield Hypothesis(offset=-doffs)


def _differences(pair: tuple[Plane, Plane], stored: Plane, valid: Mask, hypothesis: Hypothesis) -> tuple[Plane, Mask]:
    """|other view at x - d, minus this view at x| by pixel, and where that is known."""
    here, there = reversed(pair) if hypothesis.exchanged else pair
    width = here.shape[1]
    place = np.arange(width, dtype=np.float32) - hypothesis(stored)
    reached = valid & (place >= 0) & (place <= width - 1)
    place = np.where(reached, place, 0)
    lower = place.astype(np.intp)
    before = np.take_along_axis(there, lower, 1)
    after = np.take_along_axis(there, np.minimum(lower + 1, width - 1), 1)
    found: Plane = np.abs(before + (place - lower) * (after - before) - here)
    return found, reached


def error_map(left: Plane, right: Plane, disparity: Plane, hypothesis: Hypothesis) -> tuple[Plane, Mask]:
    """The difference in grey levels by pixel under `hypothesis`, as it is compared, and where it is known."""
    everywhere = np.ones(disparity.shape, np.bool_)
    return _differences(_alike(left, right), np.nan_to_num(disparity, posinf=0, neginf=0), everywhere, hypothesis)


def _alike(left: Plane, right: Plane) -> tuple[Plane, Plane]:
    """Both views in grey, the right one in the left one's exposure, in which cameras differ."""
    first, second = _smoothed(left), _smoothed(right)
    gain = float(first.std()) / max(float(second.std()), 1e-6)
    return first, (second - second.mean()) * gain + first.mean()


def _smoothed(view: NDArray[Any]) -> Plane:
    """Grey, smoothed by a pixel: else the blur of an interpolated view would hide noise and look like a match."""
    grey = np.nan_to_num(view, posinf=0, neginf=0).mean(0, dtype=np.float32)
    for axis in (0, 1):
        length = grey.shape[axis]
        padded = np.pad(grey, [(2, 2) if each == axis else (0, 0) for each in (0, 1)], mode="edge")
        shifted = [padded[at : at + length] if axis == 0 else padded[:, at : at + length] for at in range(5)]
        grey = sum(weight * plane for weight, plane in zip((1, 4, 6, 4, 1), shifted, strict=True)) / np.float32(16)
    return grey

"""What can be wrong with the polarisation of a pair: range, pairing of the angles, and views that do not agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contracts import Dataset, Finding, Sample
from engine_stereo.data.frames import Frames
from engine_stereo.data.polarimetry import Redundancy, intensities

SIDES = ("left", "right")

ABOVE_ONE = 0.01
"""Share of pixels whose degree of polarisation may exceed 1, which noise takes a few of."""

DISAGREEMENT = 0.06
"""Angles whose sums differ by more are not four angles of one scene.

Real files in the right pairing have 0.009 to 0.056, and in a wrong one 0.065 to 0.24.
"""

UNTOLD = 0.5
"""Share of pixels without polarisation from which this is told."""

AGREE = 0.3
"""Below this length of the mean turn between both views (0 to 1) they tell nothing of each other."""

MIRRORED = 0.15
"""By so much the agreement must grow when u of one view changes its sign."""

TURNED = (10.0, 30.0)
"""Degrees between the views' angles for a warning and for an error; the change of view alone makes a few."""


class PolarizationCheck:
    """Range and agreement of (q, u) (2, H, W), and of the intensities that it comes from where those are files."""

    def __init__(self) -> None:
        self.count = 0
        self.dolp: list[Any] = []
        self.above: list[float] = []
        self.positive = dict.fromkeys(SIDES, True)
        self.untold: list[float] = []
        self.direct = self.mirrored = 0j
        self.weight = 0.0
        self.pairings: dict[str, list[Redundancy]] = {side: [] for side in SIDES}
        self.dark: list[float] = []

    def look(self, sample: Sample, index: int, dataset: Dataset) -> None:
        """Measure one sample that has polarization_left and polarization_right."""
        self.count += 1
        views = [np.asarray(sample[f"polarization_{side}"], np.float32) for side in SIDES]
        for side, view in zip(SIDES, views, strict=True):
            size = np.hypot(view[0], view[1])
            told = size > 0
            self.untold.append(float(1 - told.mean()))
            if told.any():
                self.dolp.append(np.percentile(size[told], (50, 95)))
                self.above.append(float((size[told] > 1.001).mean()))
            self.positive[side] &= bool((view >= 0).all())
        if "disparity" in sample and "valid" in sample:
            self._hold_together(views, np.asarray(sample["disparity"])[0], np.asarray(sample["valid"])[0])
        self._look_at_files(index, dataset)

    def _hold_together(self, views: list[NDArray[Any]], disparity: NDArray[Any], valid: NDArray[Any]) -> None:
        width = disparity.shape[1]
        column = np.rint(np.arange(width) - np.nan_to_num(disparity, posinf=0, neginf=0)).astype(np.intp)
        seen = valid & (column >= 0) & (column < width)
        left, right = (view[0] + 1j * view[1] for view in views)
        there = np.take_along_axis(right, np.where(seen, column, 0), 1)[seen]
        here = left[seen]
        self.direct += complex((here * there.conj()).sum())
        self.mirrored += complex((here * there).sum())
        self.weight += float((np.abs(here) * np.abs(there)).sum())

    def _look_at_files(self, index: int, dataset: Dataset) -> None:
        """Of files of intensities: how well four angles agree, which (q, u) no longer tells."""
        if not isinstance(dataset, Frames):
            return
        stored = dataset.frames[index].polarization
        if stored is None or stored.layout == "dolp_aolp":
            return
        for side, files in zip(SIDES, (stored.left, stored.right), strict=True):
            found = intensities(stored.layout, files, dataset.options.polarimetry)
            self.dark.append(float(1 - found.told.mean()))
            if found.told.any():
                self.pairings[side].append(found.redundancy())

    def figures(self) -> Mapping[str, Any]:
        """The degree of polarisation, and how well angles and views agree."""
        rows: dict[str, Any] = {}
        if self.dolp:
            rows["DoLP, median"], rows["DoLP, 95 %"] = (float(value) for value in np.mean(self.dolp, axis=0))
        if self.dark:
            rows["dark or clipped angles"] = float(np.mean(self.dark))
        for side, found in self.pairings.items():
            if found:
                rows[f"disagreement of angles, {side}"] = float(np.median([each.as_stated for each in found]))
        if self.weight > 0:
            rows["AoLP of both views agrees"] = abs(self.direct) / self.weight
            rows["AoLP of both views, turn, degrees"] = self._turn()
        return rows

    def _turn(self) -> float:
        return math.degrees(float(np.angle(self.direct)) / 2)

    def findings(self) -> list[Finding]:
        """What is wrong with the polarisation."""
        if not self.count:
            return []
        return [*self._range(), *self._pairing(), *self._views()]

    def _range(self) -> list[Finding]:
        found = []
        untold = float(np.mean(self.untold))
        above = float(np.mean(self.above)) if self.above else 0.0
        if untold > UNTOLD:
            what = f"{untold:.0%} of the pixels have no polarisation"
            advice = "check the exposure of the four angles, and 'white' where 12 bits are stored in 16"
            found.append(Finding("error" if untold == 1 else "warning", what, {"without": untold}, advice))
        if above > ABOVE_ONE:
            what = f"the degree of polarisation exceeds 1 in {above:.0%} of the pixels"
            advice = "check the layout: (q, u) = (S1, S2) / S0 are at most 1"
            if any(self.positive.values()):
                what += ", and no number is negative"
                advice += "; DoLP and AoLP must be turned into them"
            found.append(Finding("error", what, {"above 1": above}, advice))
        elif any(self.positive.values()) and untold < 1:
            what = "q and u are negative nowhere, as if they were DoLP and AoLP"
            found.append(Finding("warning", what, {}, "check what the fields hold: (q, u) = (S1, S2) / S0"))
        return found

    def _pairing(self) -> list[Finding]:
        found = []
        for side, each in self.pairings.items():
            if not each:
                continue
            stated, other, third = np.median(each, axis=0)
            figures = {"as stated": stated, "45 and 90 exchanged": other, "90 and 135 exchanged": third}
            least = min(other, third)
            if stated > DISAGREEMENT and least < 0.7 * stated:
                pair = "45 and 90 (or 0 and 135)" if other < third else "90 and 135 (or 0 and 45)"
                what = (
                    f"the four angles of the {side} view are paired wrongly: {pair} look exchanged, which lowers their"
                )
                what += f" disagreement from {stated:.3f} to {least:.3f}"
                found.append(Finding("error", what, figures, "check the layout and the order of the files"))
            elif stated > DISAGREEMENT:
                what = (
                    f"the four angles of the {side} view disagree by {stated:.3f}; good ones by {DISAGREEMENT} at most"
                )
                found.append(Finding("warning", what, figures, "check for motion between exposures, and noise"))
        return found

    def _views(self) -> list[Finding]:
        if self.weight <= 0:
            return []
        direct, mirrored = abs(self.direct) / self.weight, abs(self.mirrored) / self.weight
        figures = {"agreement": direct, "with u negated": mirrored, "turn, degrees": self._turn()}
        if mirrored > AGREE and mirrored > direct + MIRRORED:
            what = (
                f"the angles of one view run the other way: with u negated both views agree by {mirrored:.2f} and not"
            )
            advice = "set angle_sign, or mirror u where pictures were flipped"
            return [Finding("error", f"{what} {direct:.2f}", figures, advice)]
        turn = abs(self._turn())
        if direct > AGREE and turn > TURNED[0]:
            what = f"the angles of the right view are turned by {self._turn():.0f} degrees against the left's"
            advice = "set angle_left and angle_right, and the rotations of rectification"
            return [Finding("error" if turn > TURNED[1] else "warning", what, figures, advice)]
        return []

"""What can be wrong with two pictures whatever their disparity: range, exposure, or one picture in place of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.contracts import Finding, Sample

CLIPPED = 0.25
"""Share of black or full pixels from which a picture is said to be clipped."""

NAMED = 5


class Pictures:
    """Range, contrast and equality of both views; a sample is a name and its pictures (3, H, W)."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.lows: list[float] = []
        self.highs: list[float] = []
        self.clipped: list[float] = []
        self.constant: list[str] = []
        self.equal: list[str] = []

    def look(self, name: str, sample: Sample) -> None:
        """Measure one pair."""
        views = [np.asarray(sample[side], np.float32) for side in ("left", "right")]
        self.names.append(name)
        self.lows.append(min(float(np.nanmin(view)) for view in views))
        self.highs.append(max(float(np.nanmax(view)) for view in views))
        self.clipped.append(max(float(((view <= 0) | (view >= 255)).all(0).mean()) for view in views))
        if any(np.ptp(view) == 0 for view in views):
            self.constant.append(name)
        elif views[0].shape == views[1].shape and (views[0] == views[1]).all():
            self.equal.append(name)

    def figures(self) -> Mapping[str, Any]:
        """The range of the numbers, and the share of black and full pixels."""
        if not self.names:
            return {}
        return {
            "pictures, least": min(self.lows),
            "pictures, most": max(self.highs),
            "black or full pixels": float(np.mean(self.clipped)),
        }

    def findings(self) -> list[Finding]:
        """What is wrong with the pictures."""
        if not self.names:
            return []
        return [
            *self._range(),
            *self._told("error", self.constant, "show one colour everywhere", "check their files"),
            *self._told("error", self.equal, "have the same picture as left and right", "check how 'right' is named"),
            *self._clipping(),
        ]

    def _range(self) -> list[Finding]:
        low, high = min(self.lows), max(self.highs)
        figures = {"least": low, "most": high}
        what = f"pictures hold numbers from {low:.3g} to {high:.5g}; expected 0 to 255"
        if low < 0:
            return [Finding("error", what, figures, "undo the normalisation: models get sRGB from 0 to 255")]
        if 0 < high <= 1:
            return [Finding("error", f"{what}, and these look like 0 to 1", figures, "multiply them by 255")]
        if high > 255.5:
            return [Finding("error", what, figures, "scale 16-bit pictures by 255 / 65535")]
        return []

    def _told(self, level: str, names: list[str], what: str, advice: str) -> list[Finding]:
        if not names:
            return []
        some = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        all_of_them = 2 * len(names) >= len(self.names)
        text = f"{len(names)} of {len(self.names)} samples {what}: {some}"
        return [Finding("error" if all_of_them else "warning", text, {"samples": names}, advice)]

    def _clipping(self) -> list[Finding]:
        share = float(np.mean(self.clipped))
        if share <= CLIPPED or max(self.highs) <= 1:
            return []
        what = f"{share:.0%} of the pixels are black or full in a view, where nothing can be matched"
        return [
            Finding(
                "warning", what, {"clipped": share}, "check the exposure, and that padding is not taken for a picture"
            )
        ]

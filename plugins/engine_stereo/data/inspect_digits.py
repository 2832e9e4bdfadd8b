"""Whether a disparity that is stored as digits in the three colours is read with the right digit first.

FSD has red first. A relative of it seems to have green first, and who writes with OpenCV has blue first; all such files
can be read in any order, and give numbers.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import numpy as np

from engine.contracts import Dataset, Finding
from engine_stereo.data.encodings import read_disparity
from engine_stereo.data.frames import Frames
from engine_stereo.data.images import read_image
from engine_stereo.data.inspect_photometry import AS_STORED, BETTER, EXPLAINS, error_map
from engine_stereo.data.presets import Digits

REACHED = 0.5
"""Share of pixels whose partner must lie in the picture, or a few that are alike by chance would explain a pair."""


class DigitsCheck:
    """Every order of the digits, held against the pictures."""

    def __init__(self) -> None:
        self.asked: str = ""
        self.found: list[tuple[str, str]] = []

    def look(self, name: str, index: int, dataset: Dataset) -> None:
        """Read the files of example `index` again, where they hold digits."""
        if not isinstance(dataset, Frames):
            return
        frame = dataset.frames[index]
        encoding = frame.encoding
        if encoding is None or encoding.kind != "fsd" or frame.disparity is None or frame.right is None:
            return
        self.asked = encoding.digits
        views = read_image(frame.left, "left"), read_image(frame.right, "right")
        cost = {}
        for order in get_args(Digits):
            disparity, known = read_disparity(frame.disparity, encoding.model_copy(update={"digits": order}))
            difference, reached = error_map(*views, disparity, AS_STORED)
            if (reached & known).mean() > REACHED * known.mean():
                cost[order] = float(difference[reached & known].mean())
        if not cost:
            return
        best = min(cost, key=lambda order: cost[order])
        rows = np.roll(views[1], views[1].shape[1] // 2, axis=1)  # what has nothing to do with the left view
        unrelated = float(error_map(views[0], rows, np.zeros(rows.shape[1:], np.float32), AS_STORED)[0].mean())
        if cost[best] < min(BETTER * cost.get(self.asked, np.inf), EXPLAINS * unrelated):
            self.found.append((name, best))

    def findings(self) -> list[Finding]:
        """Another order than the one that is read."""
        if not self.found:
            return []
        order, count = Counter(order for _, order in self.found).most_common(1)[0]
        names = ", ".join(name for name, each in self.found if each == order)
        words = " ".join(_COLOURS[colour] for colour in order)
        what = f"the digits of the disparity stand in the order {words}, and are read as {self.asked}: {names}"
        figures: dict[str, Any] = {"digits": order, "samples": count}
        return [Finding("error", what, figures, f'say digits = "{order}" of the data set')]


_COLOURS = {"r": "red", "g": "green", "b": "blue"}

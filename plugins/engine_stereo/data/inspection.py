"""The inspection `stereo`: what is usually wrong with stereo pairs, measured before anybody trains on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.contracts import Dataset, Finding, Sample
from engine_stereo.data.inspect_digits import DigitsCheck
from engine_stereo.data.inspect_photometry import AS_STORED
from engine_stereo.data.inspect_pictures import Pictures
from engine_stereo.data.inspect_polarization import PolarizationCheck
from engine_stereo.data.inspect_sheet import Row, save_sheet
from engine_stereo.data.inspect_truth import Truth
from engine_stereo.options import StereoInspectionOptions

DRAWN = 6
"""Samples on the sheet: more would not be seen on one screen."""


class StereoInspection:
    """Pictures, disparity and polarisation of samples that have `left` and `right` (3, H, W)."""

    def __init__(self, options: StereoInspectionOptions) -> None:
        self._pictures = Pictures()
        self._truth = Truth()
        self._digits = DigitsCheck()
        self._polarization = PolarizationCheck()
        self._rows: list[Row] = []

    def look(self, sample: Sample, index: int, dataset: Dataset) -> None:
        """Measure example `index`; files of polarisation are read again for what (q, u) does not tell."""
        if not all(np.ndim(sample.get(side, 0)) == 3 for side in ("left", "right")):
            return
        name = sample.get("id", str(index))
        self._pictures.look(name, sample)
        explained = AS_STORED
        if "disparity" in sample and "valid" in sample:
            explained = self._truth.look(name, sample)
            self._digits.look(name, index, dataset)
        if "polarization_left" in sample and "polarization_right" in sample:
            self._polarization.look(sample, index, dataset)
        if len(self._rows) < DRAWN:
            self._rows.append(Row(name, sample, explained))

    def figures(self) -> Mapping[str, Any]:
        """What was measured."""
        return {**self._truth.figures(), **self._pictures.figures(), **self._polarization.figures()}

    def findings(self) -> Sequence[Finding]:
        """What is wrong."""
        # Digits in another order give numbers of which everything else that is said of the truth follows.
        truth = self._digits.findings() or self._truth.findings()
        return [*truth, *self._pictures.findings(), *self._polarization.findings()]

    def draw(self, path: Path) -> bool:
        """Write the sheet of the first samples. WorldError without matplotlib."""
        if not self._rows:
            return False
        save_sheet(self._rows, path)
        return True

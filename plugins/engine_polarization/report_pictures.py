"""The polarisation of the left view and the correction that was made of it, for the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from engine_stereo.pictures import (
    angle_scale,
    aolp_picture,
    gauge_picture,
    gauge_scale,
    signed_picture,
    signed_scale,
)

from engine.contracts import Picture
from engine.prediction import Batch, Prediction
from engine_polarization.options import ReportPicturesOptions

_FULL = 0.5
"""Degree of polarisation drawn brightest: glass near Brewster's angle reaches it, and little does more."""


class PolarizationPictures:
    """Degree and angle of `polarization_left` (1, 2, H, W), and the correction within the injection's bound."""

    def __init__(self, options: ReportPicturesOptions) -> None:
        pass

    def __call__(self, batch: Batch, prediction: Prediction, bound: float | None) -> Sequence[Picture]:
        """The pictures of a batch of one; none where it has no polarisation. WorldError without matplotlib."""
        if "polarization_left" not in batch:
            return []
        q, u = batch["polarization_left"][0].detach().float().cpu().numpy()
        degree = np.hypot(q, u)
        every = np.ones_like(degree, np.bool_)
        drawn = [
            Picture("DoLP", gauge_picture(degree / _FULL, every), scale=gauge_scale(f"{_FULL:g}")),
            Picture("AoLP", aolp_picture(q, u), scale=angle_scale()),
        ]
        if prediction.correction is not None and bound is not None:
            correction = prediction.correction[0, 0].detach().float().cpu().numpy()
            note = f"mean |c| {np.abs(correction).mean():.2f} px"
            drawn.append(Picture("correction", signed_picture(correction, bound, every), note, signed_scale(bound)))
        return drawn

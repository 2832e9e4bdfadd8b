"""A stereo pair, its true disparity and what a system answered, for the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.contracts import Picture
from engine.prediction import Batch, Prediction
from engine_stereo.options import ReportPicturesOptions
from engine_stereo.pictures import (
    disparity_picture,
    disparity_scale,
    error_picture,
    error_scale,
    gauge_picture,
    gauge_scale,
)


class DisparityPictures:
    """`left`, `right` (1, 3, H, W) 0..255 and, where the batch has `disparity` and `valid`, what is compared with it.

    The truth gives the range of all disparities, and the error its fixed classes, whatever the system answers.
    """

    def __init__(self, options: ReportPicturesOptions) -> None:
        pass

    def __call__(self, batch: Batch, prediction: Prediction, bound: float | None) -> Sequence[Picture]:
        """The pictures of a batch of one; none of a batch that is no stereo pair. WorldError without matplotlib."""
        if not {"left", "right"} <= batch.keys():
            return []
        drawn = [Picture(side, photograph(batch[side])) for side in ("left", "right")]
        if not {"disparity", "valid"} <= batch.keys():
            return drawn
        truth, valid = plane(batch["disparity"]), plane(batch["valid"]).astype(np.bool_)
        known = truth[valid]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        scale, every = disparity_scale(low, high), np.ones_like(valid)
        drawn.append(Picture("true disparity", disparity_picture(truth, valid, low, high), scale=scale))
        answers = (
            {"": prediction} if prediction.base is None else {"": prediction, " of the base alone": prediction.base}
        )
        for whose, answer in answers.items():
            estimate = plane(answer.value)
            error = np.abs(estimate - truth)
            judged = np.where(np.isfinite(error), error, np.inf)[valid]
            note = f"mean {judged.mean():.2f} px" if judged.size else ""
            drawn.append(Picture(f"disparity{whose}", disparity_picture(estimate, every, low, high), scale=scale))
            drawn.append(Picture(f"error{whose}", error_picture(error, valid), note, error_scale()))
        if prediction.confidence is not None:
            confidence = gauge_picture(plane(prediction.confidence), every)
            drawn.append(Picture("confidence", confidence, scale=gauge_scale("1")))
        return drawn


def plane(tensor: Tensor) -> NDArray[np.float32]:
    """(H, W) of a batch of one with one channel."""
    values: NDArray[np.float32] = tensor[0, 0].detach().float().cpu().numpy()
    return values


def photograph(tensor: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3) of a batch of one, (1, 3, H, W) 0..255."""
    return tensor[0].detach().float().cpu().numpy().transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8)

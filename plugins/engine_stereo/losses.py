"""Losses on disparity, confidence and visibility.

Every loss is a mean over the valid pixels of the batch, computed in float32 whatever the precision of training, and
0 with a graph where no pixel is valid, so that an empty batch takes no step and raises nothing. There is no separate
multi-scale loss: `sequence`, beside this file, compares intermediate estimates of any resolution at the full
resolution of the truth. Comparing them at their own would need a smaller truth, and a mean of disparities over an
object's edge is the depth of nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.errors import InputError
from engine.prediction import Batch, Prediction
from engine_stereo.options import (
    ConfidenceOptions,
    DisparityL1Options,
    DisparitySmoothL1Options,
    VisibilityOptions,
)

# Keeps log(p) and its gradient finite; the smallest step below 1 that float32 resolves is 6e-8.
_PROBABILITY_FLOOR = 1e-6


def mean_over(mask: Tensor, values: Tensor) -> Tensor:
    """Mean of `values`, which are 0 outside of the mask; 0 with a graph where the mask is empty."""
    return values.sum() / mask.sum().clamp(min=1)


def error_of(value: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Estimate minus truth, float32, 0 outside of the mask."""
    # Masked before any norm: the truth may be infinite where it is not valid, and 0 * inf poisons the gradient.
    difference = value.float() - truth.float()
    return torch.where(mask, difference, torch.zeros_like(difference))


def distance(error: Tensor, beta: float) -> Tensor:
    """|e|, and with `beta` above 0 smooth L1: e^2 / (2 beta) below `beta` px, |e| - beta / 2 above."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none")


def _repairable(prediction: Prediction, batch: Batch, within: float | None) -> Tensor:
    """Valid pixels (B, 1, H, W) whose base error is at most `within` px; all valid ones without bound or injection."""
    mask: Tensor = batch["valid"]
    if within is not None and prediction.base is not None:
        mask = mask & ((prediction.base.value.detach().float() - batch["disparity"].float()).abs() <= within)
    return mask


class DisparityL1:
    """Mean absolute error of the disparity, px."""

    beta = 0.0
    reads = ("disparity", "valid", "base.value")

    def __init__(self, options: DisparityL1Options) -> None:
        self.within_bound = options.within_bound

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `prediction.value` (B, 1, H, W) against `disparity`, where `valid`."""
        with torch.autocast(prediction.value.device.type, enabled=False):
            mask = _repairable(prediction, batch, self.within_bound)
            return mean_over(mask, distance(error_of(prediction.value, batch["disparity"], mask), self.beta))


class DisparitySmoothL1(DisparityL1):
    """Mean smooth absolute error of the disparity: e^2 / (2 beta) below `beta` px, e - beta / 2 above."""

    def __init__(self, options: DisparitySmoothL1Options) -> None:
        super().__init__(options)
        self.beta = options.beta


def _cross_entropy(probability: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    # Written out because torch refuses its own binary_cross_entropy on probabilities under autocast.
    p = probability.float()
    p = torch.where(mask, p, torch.full_like(p, 0.5)).clamp(_PROBABILITY_FLOOR, 1 - _PROBABILITY_FLOOR)
    entropy = -torch.where(target, p.log(), (-p).log1p())
    return mean_over(mask, torch.where(mask, entropy, torch.zeros_like(entropy)))


class ConfidenceBCE:
    """Binary cross entropy of the confidence against "the estimate is within `threshold` px".

    A corrected prediction is judged by its base's error, because the base gave the confidence before the correction.
    """

    reads = ("disparity", "valid", "base.value", "base.confidence")

    def __init__(self, options: ConfidenceOptions) -> None:
        self.threshold = options.threshold

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `prediction.confidence` (B, 1, H, W), where `valid`; InputError when the model gives none."""
        if prediction.confidence is None:
            raise InputError("the loss 'confidence_bce' needs a model that predicts confidence, and this one does not")
        mask = batch["valid"]
        judged = prediction if prediction.base is None else prediction.base
        with torch.autocast(prediction.value.device.type, enabled=False):
            right = error_of(judged.value.detach(), batch["disparity"], mask).abs() < self.threshold
            return _cross_entropy(prediction.confidence, right, mask)


class VisibilityBCE:
    """Binary cross entropy of the visibility against "not occluded in the other view"."""

    reads = ("occluded", "valid", "base.value", "base.visibility")

    def __init__(self, options: VisibilityOptions) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `prediction.visibility` (B, 1, H, W), where `valid`.

        Raises InputError when the model predicts no visibility or the data has no `occluded` mask.
        """
        if prediction.visibility is None:
            raise InputError("the loss 'visibility_bce' needs a model that predicts visibility, and this one does not")
        if "occluded" not in batch:
            raise InputError("the loss 'visibility_bce' needs the mask 'occluded', which this data set does not have")
        with torch.autocast(prediction.value.device.type, enabled=False):
            return _cross_entropy(prediction.visibility, ~batch["occluded"], batch["valid"])

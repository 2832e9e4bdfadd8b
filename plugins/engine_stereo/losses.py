"""Losses on disparity, confidence and visibility.

Every loss is a mean over the valid pixels of the batch, computed in float32 whatever the precision of training, and
0 with a graph where no pixel is valid, so that an empty batch takes no step and raises nothing. There is no separate
multi-scale loss: `sequence` compares intermediate estimates of any resolution at the full resolution of the truth.
Comparing them at their own would need a smaller truth, and a mean of disparities over an object's edge is the depth
of nothing.
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
    SequenceOptions,
    VisibilityOptions,
)

# Keeps log(p) and its gradient finite; the smallest step below 1 that float32 resolves is 6e-8.
_PROBABILITY_FLOOR = 1e-6


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.sum() / mask.sum().clamp(min=1)


def _difference(value: Tensor, batch: Batch, mask: Tensor) -> Tensor:
    # Masked before any norm: the truth may be infinite where it is not valid, and 0 * inf poisons the gradient.
    difference = value.float() - batch["disparity"].float()
    return torch.where(mask, difference, torch.zeros_like(difference))


def _norm(difference: Tensor, beta: float) -> Tensor:
    return F.smooth_l1_loss(difference, torch.zeros_like(difference), beta=beta, reduction="none")


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
            return _mean(_norm(_difference(prediction.value, batch, mask), self.beta), mask)


class DisparitySmoothL1(DisparityL1):
    """Mean smooth absolute error of the disparity: e^2 / (2 beta) below `beta` px, e - beta / 2 above."""

    def __init__(self, options: DisparitySmoothL1Options) -> None:
        super().__init__(options)
        self.beta = options.beta


class Sequence:
    """Weighted sum of the errors of all estimates, gamma^(n-1-i) for estimate i of n (RAFT, Teed and Deng 2020).

    The last estimate is `prediction.value`, with weight 1. Intermediates of lower resolution are interpolated
    bilinearly to the truth's size; their values are px at full resolution already.
    """

    reads = ("disparity", "valid", "base.value", "base.intermediates")

    def __init__(self, options: SequenceOptions) -> None:
        self.gamma, self.beta = options.gamma, options.beta

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `intermediates` and `value` against `disparity`, where `valid`."""
        mask = batch["valid"]
        estimates = [*prediction.intermediates, prediction.value]
        with torch.autocast(prediction.value.device.type, enabled=False):
            loss = torch.zeros((), device=mask.device)
            for estimate in estimates:
                full = estimate.float()
                if full.shape[-2:] != mask.shape[-2:]:
                    full = F.interpolate(full, size=mask.shape[-2:], mode="bilinear", align_corners=False)
                loss = self.gamma * loss + _mean(_norm(_difference(full, batch, mask), self.beta), mask)
            return loss


def _cross_entropy(probability: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    # Written out because torch refuses its own binary_cross_entropy on probabilities under autocast.
    p = probability.float()
    p = torch.where(mask, p, torch.full_like(p, 0.5)).clamp(_PROBABILITY_FLOOR, 1 - _PROBABILITY_FLOOR)
    entropy = -torch.where(target, p.log(), (-p).log1p())
    return _mean(torch.where(mask, entropy, torch.zeros_like(entropy)), mask)


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
            right = _difference(judged.value.detach(), batch, mask).abs() < self.threshold
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

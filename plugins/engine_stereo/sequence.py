"""Losses on all estimates of a network that improves its answer step by step."""

from __future__ import annotations

from collections.abc import Sequence as Several

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.errors import InputError
from engine.prediction import Batch, Prediction
from engine_stereo.losses import distance, error_of, mean_over
from engine_stereo.options import InitialOptions, SequenceOptions

SPREAD = 15
"""The first estimate's power of gamma under the rule "spread", as in RAFT-Stereo's training code."""


class Sequence:
    """Weighted sum of the errors of all estimates (RAFT, Teed and Deng 2020).

    The last estimate is `prediction.value`. Estimates of lower resolution are interpolated bilinearly to the truth's
    size; their values are px at full resolution already.
    """

    reads = ("disparity", "valid", "base.value", "base.intermediates")

    def __init__(self, options: SequenceOptions) -> None:
        self.options = options

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `intermediates` and `value` against `disparity`, where `valid`.

        Raises InputError where the weights are not as many as the estimates.
        """
        estimates = [*prediction.intermediates, prediction.value]
        weights, mask = self.weights(len(estimates)), known(batch, self.options.below)
        with torch.autocast(prediction.value.device.type, enabled=False):
            loss = torch.zeros((), device=mask.device)
            for weight, estimate in zip(weights, estimates, strict=True):
                error = error_of(interpolated(estimate, mask.shape[-2:]), batch["disparity"], mask)
                loss = loss + weight * self._average(distance(error, self.options.beta), mask)
            return loss

    def weights(self, count: int) -> Several[float]:
        """The weight of each of `count` estimates, the first one first."""
        options = self.options
        if options.weights is None:
            step = SPREAD / (count - 1) if options.rule == "spread" and count > 1 else 1
            return [options.gamma ** (step * (count - 1 - number)) for number in range(count)]
        if len(options.weights) != count:
            raise InputError(
                f"the loss 'sequence' has {len(options.weights)} weights, and the model made {count} estimates; "
                "expected one weight for each iteration"
            )
        return options.weights

    def _average(self, values: Tensor, mask: Tensor) -> Tensor:
        if self.options.average == "pixels":
            return mean_over(mask, values)
        counts = mask.flatten(1).sum(1)
        means = values.flatten(1).sum(1) / counts.clamp(min=1)
        return means.sum() / (counts > 0).sum().clamp(min=1)


class Initial:
    """The error of the estimate that the iterations begin with (FoundationStereo, Wen et al. 2025).

    At its own resolution a pixel is compared with the truth at the first of the s x s pixels that it stands for, both
    in px of its own size, which is how NVIDIA's training code has it: s times less than at full resolution.
    """

    reads = ("disparity", "valid", "base.value", "base.features.initial")

    def __init__(self, options: InitialOptions) -> None:
        self.options = options

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Reads features["initial"] (B, 1, ceil(H / s), ceil(W / s)), px at full resolution; InputError without it."""
        estimate = (prediction.base or prediction).features.get("initial")
        if estimate is None:
            raise InputError(
                "the loss 'initial_disparity' needs a base in training that estimates disparity before it iterates",
                "remove this loss from stages whose base is frozen, and from models without such an estimate",
            )
        truth, mask = batch["disparity"], known(batch, self.options.below)
        with torch.autocast(estimate.device.type, enabled=False):
            (height, width), scale = mask.shape[-2:], -(-mask.shape[-1] // estimate.shape[-1])
            if self.options.at == "full":
                whole = [scale * side for side in estimate.shape[-2:]]  # its last pixels may stand for fewer
                error = error_of(interpolated(estimate, whole)[..., :height, :width], truth, mask)
            else:
                mask = mask[..., ::scale, ::scale]
                error = error_of(estimate, truth[..., ::scale, ::scale], mask) / scale
            return mean_over(mask, distance(error, self.options.beta))


def known(batch: Batch, below: float | None) -> Tensor:
    """Valid pixels (B, 1, H, W) whose truth is below a bound, where there is one."""
    mask: Tensor = batch["valid"]
    return mask if below is None else mask & (batch["disparity"] < below)


def interpolated(estimate: Tensor, size: Several[int]) -> Tensor:
    """(B, 1, h, w) float32 at another size; the values stay as they are."""
    full = estimate.float()
    if full.shape[-2:] == tuple(size):
        return full
    return F.interpolate(full, size=tuple(size), mode="bilinear", align_corners=False)

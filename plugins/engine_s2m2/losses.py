"""The four terms of the network's training objective; their weights are the recipe's.

Every term looks at the network's own estimates, also where an injection corrected them, and is a mean over valid
pixels: 0 with a graph where there is none.

A quarter-resolution pixel answers for the 4x4 block of full-resolution pixels it covers, so it is compared with each
valid pixel of that block. The disparity that costs least is then the block's median, a disparity that occurs in it.
Averaging the truth, or interpolating the estimate, would ask for depths between an edge's two sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.errors import InputError
from engine.prediction import Batch, Prediction
from engine_s2m2.options import ConfidenceOptions, DisparityOptions, PMCOptions, VisibilityOptions

SCALE = 4

# Probabilities are mapped to [margin, 1 - margin] before the logarithm. Unlike a clamp this leaves a gradient at 0 and
# 1, which transport reaches; 1e-3 bounds it by 1000 and moves the best answer by less than 0.1 %.
PROBABILITY_MARGIN = 1e-3


class PMCLoss:
    """Probabilistic mode concentration: mean of max(1 - S - epsilon, 0), S = matching probability near the truth.

    The candidates of a quarter-resolution pixel in column i are round(i - d / 4) for the up to 16 disparities d of its
    block, each widened by `neighbourhood` columns. Pixels that the right image does not see have no candidates: their
    probability belongs in the dustbin.
    """

    reads = ("disparity", "valid", "occluded", "base.features.transport")

    def __init__(self, options: PMCOptions) -> None:
        self.neighbourhood = options.neighbourhood
        self.epsilon = options.epsilon

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Reads features["transport"] (B, H/4, W/4, W/4).

        Raises InputError where it is missing, as it is when the base is frozen and therefore in evaluation mode.
        """
        plan = _own(prediction).features.get("transport")
        if plan is None:
            raise InputError(
                "the loss 's2m2_pmc' needs matching probabilities, which S2M2 returns only while it trains",
                "remove this loss from stages whose base is frozen",
            )
        candidates = self._candidates(batch, plan.shape[-1])
        near_truth = (plan.float() * candidates).sum(-1)
        return _mean((1 - near_truth - self.epsilon).clamp(min=0), candidates.any(-1))

    def _candidates(self, batch: Batch, width: int) -> Tensor:
        matched = _blocks(_matched(batch), SCALE).movedim(-3, -2).flatten(-2)[:, 0]
        disparity = _blocks(batch["disparity"].float(), SCALE).movedim(-3, -2).flatten(-2)[:, 0]
        columns = torch.arange(width, device=disparity.device).unsqueeze(-1)
        matched = matched & disparity.isfinite()
        position = (columns - torch.where(matched, disparity, 0.0) / SCALE).round().long()
        matched = matched & (position >= 0) & (position < width)
        # What is no candidate goes to an extra column, which is cut off.
        position = torch.where(matched, position, width)
        marked = torch.zeros(*position.shape[:-1], width + 1, dtype=torch.bool, device=disparity.device)
        marked = marked.scatter_(-1, position, True)[..., :width]
        widened = marked.clone()
        for offset in range(1, min(self.neighbourhood, width - 1) + 1):
            widened[..., offset:] |= marked[..., :-offset]
            widened[..., :-offset] |= marked[..., offset:]
        return widened


class DisparityLoss:
    """Distance of every disparity estimate from the truth, px: sum of gamma^(n-1-k) * mean error of estimate k of n.

    The last estimate is `value`, with weight 1. The first, straight from matching, counts only where the right image
    sees the pixel: elsewhere there is nothing to match, and the refiners have to guess.
    """

    reads = ("disparity", "valid", "occluded", "base.value", "base.intermediates")

    def __init__(self, options: DisparityOptions) -> None:
        self.beta = 1.0 if options.kind == "smooth_l1" else 0.0
        self.gamma = options.gamma

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Reads `intermediates` (as many as there are) and `value` (B, 1, H, W)."""
        own = _own(prediction)
        estimates = [*own.intermediates, own.value]
        total = own.value.new_zeros((), dtype=torch.float32)
        for age, estimate in enumerate(reversed(estimates)):
            from_matching = age == len(own.intermediates) and age > 0
            mask = _matched(batch) if from_matching else batch["valid"]
            error = _error(estimate, batch, mask)
            distance = F.smooth_l1_loss(error, torch.zeros_like(error), beta=self.beta, reduction="none")
            total = total + self.gamma**age * _mean(distance, mask)
        return total


class VisibilityLoss:
    """Cross-entropy of all visibility maps with "the right image sees this pixel", averaged over the maps."""

    reads = (
        "valid",
        "occluded",
        "base.visibility",
        "base.features.initial_visibility",
        "base.features.visibilities",
    )

    def __init__(self, options: VisibilityOptions) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Reads `visibility` (B, 1, H, W), features["initial_visibility"] and ["visibilities"]; needs `occluded`."""
        own = _own(prediction)
        maps = _maps(own, own.visibility, "initial_visibility", "visibilities")
        return _average([_cross_entropy(found, ~batch["occluded"], batch["valid"]) for found in maps])


class ConfidenceLoss:
    """Cross-entropy of all confidence maps with "the error is below the threshold", averaged over the maps.

    The error is that of the disparity which the map belongs to, and is not differentiated: being unsure must not be
    answered by moving the disparity.
    """

    reads = (
        "disparity",
        "valid",
        "base.value",
        "base.intermediates",
        "base.confidence",
        "base.features.initial_confidence",
        "base.features.confidences",
    )

    def __init__(self, options: ConfidenceOptions) -> None:
        self.threshold = options.threshold

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Reads `confidence` (B, 1, H, W), features["initial_confidence"] and ["confidences"], and disparities."""
        own = _own(prediction)
        maps = _maps(own, own.confidence, "initial_confidence", "confidences")
        # The second intermediate, of the global refiner, has no confidence of its own.
        estimates = [*own.intermediates[:1], *own.intermediates[2:], own.value]
        terms = []
        for found, estimate in zip(maps, estimates, strict=True):
            right = _error(estimate.detach(), batch, batch["valid"]).abs() < self.threshold
            terms.append(_cross_entropy(found, right, batch["valid"]))
        return _average(terms)


def _own(prediction: Prediction) -> Prediction:
    return prediction.base or prediction


def _matched(batch: Batch) -> Tensor:
    """Valid pixels (B, 1, H, W) that the right image sees, as far as the data tell."""
    valid: Tensor = batch["valid"]
    return valid & ~batch["occluded"] if "occluded" in batch else valid


def _blocks(full: Tensor, scale: int) -> Tensor:
    """(B, 1, H, W) as (B, 1, H / scale, scale, W / scale, scale)."""
    batch, channels, height, width = full.shape
    return full.view(batch, channels, height // scale, scale, width // scale, scale)


def _error(estimate: Tensor, batch: Batch, mask: Tensor) -> Tensor:
    """Estimate minus truth at every pixel of the truth, (B, 1, H, W) float32, 0 where the mask says so."""
    truth = batch["disparity"].float()
    difference = estimate.float()[:, :, :, None, :, None] - _blocks(truth, truth.shape[-1] // estimate.shape[-1])
    # Masked before any norm: an invalid truth may be infinite, and 0 * inf poisons the gradient.
    return difference.reshape(truth.shape).masked_fill(~mask, 0.0)


def _cross_entropy(probability: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean over masked pixels; each pixel of a coarse map is compared with its block's targets, by their counts."""
    with torch.autocast(probability.device.type, enabled=False):
        scale = target.shape[-1] // probability.shape[-1]
        p = PROBABILITY_MARGIN + (1 - 2 * PROBABILITY_MARGIN) * probability.float()
        ones = _blocks(target & mask, scale).sum((3, 5))
        zeros = _blocks(~target & mask, scale).sum((3, 5))
        return -(ones * p.log() + zeros * (1 - p).log()).sum() / mask.sum().clamp(min=1)


def _maps(own: Prediction, final: Tensor | None, initial: str, iterated: str) -> Sequence[Tensor]:
    """All maps of one kind in order of time; in evaluation mode there is only the final one."""
    if final is None:
        raise InputError(
            "S2M2's losses need a model that predicts confidence and visibility", "use model plugin 's2m2'"
        )
    if initial not in own.features:
        return [final]
    return [own.features[initial], *own.features.get(iterated, ()), final]


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the masked values; 0 with a graph if there are none."""
    return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


def _average(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).mean()

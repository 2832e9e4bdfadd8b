"""Losses that need no ground truth, and one on its edges.

A disparity is good where the right view, moved by it, looks like the left one (Godard, Mac Aodha and Brostow 2017), and
changes where the picture changes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.prediction import Batch, Prediction
from engine_stereo.losses import mean_over
from engine_stereo.options import EdgeOptions, PhotometricOptions, SmoothnessOptions

# Of the structural similarity on images from 0 to 1 (Wang et al. 2004).
_C1, _C2 = 0.01**2, 0.03**2


class Photometric:
    """How unlike the left view and the right one moved by the disparity are, from 0 to 1.

    A share of structural dissimilarity in 3 x 3 pixels, the rest mean absolute difference. Pixels whose partner lies
    outside of the right view are left out. What only the left view sees is not, since nothing but truth tells it: such
    pixels pull a little, and smoothness holds them.
    """

    reads = ("left", "right", "base.value")

    def __init__(self, options: PhotometricOptions) -> None:
        self.structure = options.structure

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `value` (B, 1, H, W), px, on `left` and `right` (B, 3, H, W) in 0..255."""
        with torch.autocast(prediction.value.device.type, enabled=False):
            left, right = batch["left"].float() / 255, batch["right"].float() / 255
            moved, mask = moved_right(right, prediction.value.float())
            difference = (left - moved).abs().mean(1, keepdim=True)
            unlike = (1 - _similarity(left, moved)).mean(1, keepdim=True) / 2
            both = self.structure * unlike.clamp(0, 1) + (1 - self.structure) * difference
            whole = -F.max_pool2d(-mask.float(), 3, 1, 1) > 0  # all of a pixel's 3 x 3 lie within the right view
            return mean_over(whole, both * whole)


class Smoothness:
    """How much the disparity changes from pixel to pixel, px, less where the left view changes too."""

    reads = ("left", "base.value")

    def __init__(self, options: SmoothnessOptions) -> None:
        self.edges = options.edges

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `value` (B, 1, H, W), px, on `left` (B, 3, H, W) in 0..255."""
        with torch.autocast(prediction.value.device.type, enabled=False):
            value, left = prediction.value.float(), batch["left"].float() / 255
            steps = [value.diff(dim=axis).abs() for axis in (-1, -2)]
            calm = [torch.exp(-self.edges * left.diff(dim=axis).abs().mean(1, keepdim=True)) for axis in (-1, -2)]
            return sum((step * weight).mean() for step, weight in zip(steps, calm, strict=True)) / 2


class Edges:
    """How far the changes of the disparity from pixel to pixel are from those of the truth, px.

    Over several distances, so that a wide blur of an edge costs at each of them.
    """

    reads = ("disparity", "valid", "base.value")

    def __init__(self, options: EdgeOptions) -> None:
        self.distances = options.distances

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `value` (B, 1, H, W) against `disparity`, between pixels that are both `valid`."""
        with torch.autocast(prediction.value.device.type, enabled=False):
            valid = batch["valid"]
            error = torch.where(valid, prediction.value.float() - batch["disparity"].float(), 0.0)
            terms = []
            for axis in (-1, -2):
                for distance in self.distances:
                    size = error.shape[axis] - distance
                    if size > 0:
                        both = valid.narrow(axis, 0, size) & valid.narrow(axis, distance, size)
                        change = error.narrow(axis, distance, size) - error.narrow(axis, 0, size)
                        terms.append(mean_over(both, change.abs() * both))
            return torch.stack(terms).mean() if terms else 0 * error.sum()


def moved_right(right: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """The right view (B, C, H, W) at x - d of each left pixel, and where that lies in it, (B, 1, H, W) bool.

    Linear between columns; beyond an edge it is the edge, and where d is nan it is nan, so that a loss tells of it. Not
    by torch's `grid_sample`: its gradient has no deterministic form on a GPU, and a nan ends the process on a CPU.
    """
    last = disparity.shape[-1] - 1
    place = torch.arange(last + 1, device=disparity.device, dtype=disparity.dtype) - disparity
    within = place.clamp(0, last)
    lower = within.detach().floor()
    column = lower.nan_to_num().long()
    shape = right.shape
    moved = torch.lerp(
        right.gather(-1, column.expand(shape)),
        right.gather(-1, (column + 1).clamp(max=last).expand(shape)),
        within - lower,
    )
    return moved, (place >= 0) & (place <= last)


def _similarity(one: Tensor, other: Tensor) -> Tensor:
    """Structural similarity in 3 x 3 pixels, (B, C, H, W), 1 where both are the same."""

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(values, (1, 1, 1, 1), mode="replicate"), 3, 1)

    at, of = mean(one), mean(other)
    spread, spreads, together = mean(one**2) - at**2, mean(other**2) - of**2, mean(one * other) - at * of
    alike = (2 * at * of + _C1) * (2 * together + _C2)
    return alike / ((at**2 + of**2 + _C1) * (spread + spreads + _C2))

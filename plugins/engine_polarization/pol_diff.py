"""What the correction looks at: the polarisation of both views along a disparity, and the base's own answer.

The difference between the views is a detector of surfaces that shine or transmit, not a matching cost: polarisation
depends on the view and partly belongs to what is seen through glass, so that the true disparity is no minimum of it.
The left view's polarisation and its slopes therefore stand beside the difference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.prediction import Batch, Prediction
from engine_polarization.stokes import angle_difference, dolp
from engine_polarization.warp import hidden, warp

# Most surfaces have DoLP below 0.25 and slopes of a few hundredths a pixel: these factors bring both to order one.
_POLARISATION_GAIN = 4.0
_SLOPE_GAIN = 16.0

CHANNELS = (
    "q difference",
    "u difference",
    "DoLP difference",
    "angle difference by DoLP",
    "seen by both views",
    "q",
    "u",
    "DoLP",
    "q slope",
    "u slope",
    "base disparity",
    "base confidence",
)


@torch.no_grad()
def pol_diff(batch: Batch, base: Prediction, alignment: Tensor, bound: float) -> Tensor:
    """The channels of `CHANNELS`, (B, 12, H, W) float32 of order one.

    batch: `polarization_left`, `polarization_right` (B, 2, H, W) as (S1/S0, S2/S0). base: the uncorrected prediction,
    px. alignment: (B, 1, H, W) px, the disparity along which the views are compared; undefined (nan) where unknown.
    bound: px, the largest correction, the unit in which the base's disparity is told.

    The first four channels are 0 where the fifth is: outside the right view, hidden behind a nearer surface, or
    aligned by a ground truth that is not valid. No gradient flows to the base or the alignment.
    """
    left, right = batch["polarization_left"].float(), batch["polarization_right"].float()
    alignment = _known(alignment.float(), batch)
    warped, inside = warp(right, alignment)
    seen = inside & ~hidden(alignment)

    strength, strength_warped = dolp(left), dolp(warped)
    batch_size, _, height, width = left.shape
    channels = left.new_empty(
        batch_size, len(CHANNELS), height, width
    )  # filled in place: a step has no time for copies
    torch.sub(left, warped, out=channels[:, 0:2])
    torch.sub(strength, strength_warped, out=channels[:, 2:3])
    torch.mul(angle_difference(left, warped), torch.minimum(strength, strength_warped), out=channels[:, 3:4])
    if torch.compiler.is_compiling():  # and exporters, which know of no bits
        channels[:, 0:4] = torch.where(seen, channels[:, 0:4] * _POLARISATION_GAIN, 0.0)
    else:  # the bits of a float times 0 or 1: the same, also for nan, in a sixth of its time
        channels[:, 0:4].mul_(_POLARISATION_GAIN).view(torch.int32).mul_(seen)
    channels[:, 4:5] = seen
    torch.mul(left, _POLARISATION_GAIN, out=channels[:, 5:7])
    torch.mul(strength, _POLARISATION_GAIN, out=channels[:, 7:8])
    channels[:, 8:10] = _SLOPE_GAIN * _slope(left)
    # Almost linear up to the bound, logarithmic above: resolves small steps, tames large disparities.
    channels[:, 10:11] = _asinh(base.value.detach().float() / bound) / 2
    channels[:, 11:12] = 1.0 if base.confidence is None else base.confidence.detach()
    return channels


def _asinh(x: Tensor) -> Tensor:
    """asinh in terms that torch computes several at once on a CPU, to within rounding of its own."""
    size = x.abs()
    grown = torch.log1p(size + size * size / (1 + torch.sqrt(1 + size * size)))
    # Exporters know no copysign, which is three times as fast.
    return torch.sign(x) * grown if torch.compiler.is_compiling() else torch.copysign(grown, x)


def _known(alignment: Tensor, batch: Batch) -> Tensor:
    """The alignment with nan where it was copied from a ground truth that is not valid."""
    if "valid" not in batch or "disparity" not in batch:
        return alignment
    copied = (alignment == batch["disparity"]) & ~batch["valid"]
    return torch.where(copied, torch.full_like(alignment, torch.nan), alignment)


def _slope(picture: Tensor) -> Tensor:
    """Change a pixel along x, half the difference of both neighbours; 0 in the first and last column."""
    return F.pad((picture[..., 2:] - picture[..., :-2]) / 2, (1, 1))

"""Bring the right view's pixels to the left view along a disparity."""

from __future__ import annotations

import torch
from torch import Tensor


def warp(right: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """Sample `right` (B, C, H, W) at (x - d, y), linearly between columns.

    disparity: (B, 1, H, W), px at this resolution, positive for x_right = x_left - d.
    Returns the picture (B, C, H, W) in float32 or better, 0 where it looks outside, and (B, 1, H, W) bool, true where
    0 <= x - d <= W - 1; an undefined (nan) or infinite disparity looks outside. Differentiable in both arguments.

    It equals bilinear sampling with pixel centres at the corners of the normalised grid, but works on column numbers:
    no rounding of normalised coordinates, so that disparity 0 returns the picture itself and whole numbers shift it.
    """
    right = right.to(torch.promote_types(right.dtype, torch.float32))
    width = right.shape[-1]
    columns = torch.arange(width, device=right.device, dtype=right.dtype)
    position = columns - disparity.to(right.dtype)
    inside = (position >= 0) & (position <= width - 1)
    position = torch.where(inside, position, torch.zeros_like(position))

    lower = position.detach().floor()
    fraction = position - lower
    index = lower.long()
    shape = right.shape
    first = right.gather(-1, index.expand(shape))
    second = right.gather(-1, (index + 1).clamp(max=width - 1).expand(shape))
    sampled = first + fraction * (second - first)
    return torch.where(inside, sampled, torch.zeros_like(sampled)), inside


def hidden(disparity: Tensor, tolerance: float = 1.0) -> Tensor:
    """Pixels (B, 1, H, W) bool that a nearer surface hides from the right view, judged by `disparity` (px) alone.

    Every pixel is dropped on the nearest column of the right view, where the largest disparity, the nearest surface,
    stays; a pixel is hidden when what stayed at its place exceeds it by more than `tolerance` px, which lets slopes and
    small noise pass. Pixels that look outside, or whose disparity is not finite, neither hide nor are hidden.
    """
    width = disparity.shape[-1]
    place = torch.arange(width, device=disparity.device, dtype=disparity.dtype) - disparity
    inside = (place >= 0) & (place <= width - 1)
    column = torch.where(inside, place, torch.zeros_like(place)).round().long()
    depth = torch.where(inside, disparity, torch.full_like(disparity, -torch.inf))
    nearest = depth.new_full(depth.shape, -torch.inf).scatter_reduce(-1, column, depth, "amax")
    return inside & (nearest.gather(-1, column) - depth > tolerance)

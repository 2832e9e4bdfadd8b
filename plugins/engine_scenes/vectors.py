"""Vectors as the rows of (3, N) tensors: each component is contiguous, which makes batched geometry fast."""

from __future__ import annotations

import torch
from torch import Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products (N,) of (3, N) vectors; written out because a sum over an axis of three is far slower."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross products (3, N)."""
    return torch.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def normalized(a: Tensor) -> Tensor:
    """Unit vectors (3, N); a zero vector stays zero."""
    return a * dot(a, a).clamp_min(1e-20).rsqrt()


def luminance(rgb: Tensor) -> Tensor:
    """Luminance (N,) of linear RGB (3, N) with the Rec. 709 weights."""
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]

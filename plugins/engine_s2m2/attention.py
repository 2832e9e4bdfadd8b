"""Attention within an image and between the two images of a pair, along rows or over whole maps.

Everything here works on sequences (N, L, d) whose first half belongs to left images and second half to right images,
in the same order. A row of an image is a sequence in `RowAttention`, a whole map in `GlobalAttention`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine_s2m2.positional import CHANNELS, attended_positions


def _normalised(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


class Attention(nn.Module):
    """Multi-head attention of queries (N, L, d) over a context (N, L, d)."""

    def __init__(self, channels: int, heads: int, positional: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(channels, channels, bias=False)
        self.k = nn.Linear(channels, channels, bias=False)
        self.v = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels, bias=False)
        if positional:
            self.pe_proj = nn.Linear(2 * CHANNELS, channels // heads)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, queries: Tensor, context: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """What the queries read (N, L, d); `grid` = (rows, columns) adds the relative positional term."""
        q, k, v = self._split(self.q(queries)), self._split(self.k(context)), self._split(self.v(context))
        if grid is None:
            read = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
            weights = scores.float().softmax(-1)
            read = weights.to(v.dtype) @ v + self.pe_proj(attended_positions(weights, *grid))
        return self.proj(read.transpose(1, 2).flatten(2))


class SelfAttention(nn.Module):
    """Residual attention of each sequence to itself."""

    def __init__(self, channels: int, heads: int, positional: bool = False) -> None:
        super().__init__()
        self.attn = Attention(channels, heads, positional)

    def forward(self, x: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """(N, L, d) -> (N, L, d)."""
        normalised = _normalised(x)
        return x + self.attn(normalised, normalised, grid)


class CrossAttention(nn.Module):
    """Residual attention of left sequences to right ones and back, with shared weights, both from the same input."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(channels, heads)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, d) -> (N, L, d), the first half of N left, the second right."""
        normalised = _normalised(x)
        left, right = normalised.chunk(2)
        return x + self.attn(normalised, torch.cat((right, left)))


class FeedForward(nn.Module):
    """Residual two-layer perceptron on normalised channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, d) -> (N, L, d)."""
        return x + self.ffn(_normalised(x))


class RowAttention(nn.Module):
    """Cross- then self-attention along image rows, each followed by a perceptron."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(channels, heads)
        self.ffn_c = FeedForward(channels)
        self.self_attn = SelfAttention(channels, heads)
        self.ffn = FeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(2B, d, H, W), left images first -> the same shape."""
        shape = x.permute(0, 2, 3, 1).shape
        rows = x.permute(0, 2, 3, 1).flatten(0, 1)
        rows = self.ffn_c(self.cross_attn(rows))
        rows = self.ffn(self.self_attn(rows))
        return rows.view(shape).permute(0, 3, 1, 2)


class GlobalAttention(nn.Module):
    """Attention over all pixels of a map, between the images first if `cross`."""

    def __init__(self, channels: int, heads: int, cross: bool = False, positional: bool = False) -> None:
        super().__init__()
        self.cross = cross
        self.positional = positional
        if cross:
            self.cross_attn = CrossAttention(channels, heads)
            self.ffn_c = FeedForward(channels)
        self.self_attn = SelfAttention(channels, heads, positional)
        self.ffn = FeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, d, H, W) -> (N, d, H, W); with `cross`, the first half of N are left images."""
        rows, columns = x.shape[2:]
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        if self.cross:
            pixels = self.ffn_c(self.cross_attn(pixels))
        pixels = self.ffn(self.self_attn(pixels, (rows, columns) if self.positional else None))
        return pixels.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)

"""Attention within an image and between the two images of a pair, along rows or over whole maps.

Everything here works on sequences (N, L, d) whose first half belongs to left images and second half to right images,
in the same order. A row of an image is a sequence in `RowAttention`, a whole map in `GlobalAttention`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine_s2m2.correlation import BAND
from engine_s2m2.positional import CHANNELS, attended_positions


def _normalised(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


class Attention(nn.Module):
    """Multi-head attention within sequences (N, L, d), or between left and right ones."""

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

    def forward(self, x: Tensor, cross: bool = False, grid: tuple[int, int] | None = None) -> Tensor:
        """What sequences (N, L, d) read from themselves, or with `cross` left ones from right ones and back.

        `grid` = (rows, columns) adds the relative positional term to what is read from the own sequence.
        """
        # One product in place of three, which would each go through x.
        weight = torch.cat((self.q.weight, self.k.weight, self.v.weight))
        bias = F.pad(self.v.bias, (2 * x.shape[-1], 0))
        q, k, v = (self._split(part) for part in F.linear(x, weight, bias).chunk(3, -1))
        if cross:
            (left_q, right_q), (left_k, right_k), (left_v, right_v) = q.chunk(2), k.chunk(2), v.chunk(2)
            from_right = F.scaled_dot_product_attention(left_q, right_k, right_v)
            from_left = F.scaled_dot_product_attention(right_q, left_k, left_v)
            read = torch.cat((from_right, from_left))
        elif grid is None:
            read = F.scaled_dot_product_attention(q, k, v)
        else:
            # The weights of a head grow with the square of the picture's area: without gradients they come and go.
            together = self.heads if torch.is_grad_enabled() else max(1, BAND // (len(x) * x.shape[1] ** 2))
            parts = zip(*(part.split(together, 1) for part in (q, k, v)), strict=True)
            read = torch.cat([self._with_positions(*part, grid) for part in parts], 1)
        return self.proj(read.transpose(1, 2).flatten(2))

    def _with_positions(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        """What some of the heads (N, heads, L, c) read from their own sequence, with the positional term."""
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        weights = scores.float().softmax(-1)
        return weights.to(v.dtype) @ v + self.pe_proj(attended_positions(weights, *grid))


class SelfAttention(nn.Module):
    """Residual attention of each sequence to itself."""

    def __init__(self, channels: int, heads: int, positional: bool = False) -> None:
        super().__init__()
        self.attn = Attention(channels, heads, positional)

    def forward(self, x: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """(N, L, d) -> (N, L, d)."""
        return x + self.attn(_normalised(x), grid=grid)


class CrossAttention(nn.Module):
    """Residual attention of left sequences to right ones and back, with shared weights, both from the same input."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(channels, heads)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, d) -> (N, L, d), the first half of N left, the second right."""
        return x + self.attn(_normalised(x), cross=True)


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

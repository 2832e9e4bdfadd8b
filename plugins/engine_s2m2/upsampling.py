"""From quarter to full resolution by convex combinations of neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine_s2m2.blocks import join

NEIGHBOURS = 9


class FlippedConv2d(nn.ConvTranspose2d):
    """A transposed convolution of stride 1 that keeps the size, computed as the ordinary convolution it equals.

    Its parameters have the layout of a transposed convolution; libraries compute that form several times more slowly.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # takes no output size: it is that of the input
        """(B, a, H, W) -> (B, b, H, W)."""
        return F.conv2d(x, self.weight.transpose(0, 1).flip(2, 3), self.bias, padding=self.padding)


class QuarterMask(nn.Module):
    """Mixing logits (B, 9, H, W) of the four-fold enlargement, from the refiner's state and the stem's features."""

    def __init__(self, width: int, mask_width: int) -> None:
        super().__init__()
        self.conv_x = nn.ConvTranspose2d(width, mask_width, 2, stride=2)
        self.conv_y = nn.Conv2d(width, mask_width, 3, padding=1)
        self.conv_concat = nn.Sequential(
            nn.Conv2d(2 * mask_width, 2 * mask_width, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * mask_width, NEIGHBOURS, 2, stride=2),
        )

    def forward(self, hidden: Tensor, half: Tensor) -> Tensor:
        """hidden (B, C, H/4, W/4), half (B, C, H/2, W/2)."""
        return self.conv_concat(join(self.conv_x(hidden), self.conv_y(half)))


class EdgeMask(nn.Module):
    """Mixing logits (B, 9, H, W) of the last, edge-guided step, from disparity, image and the stem's features."""

    def __init__(self, width: int, edge_width: int) -> None:
        super().__init__()
        self.conv_disp = nn.Sequential(FlippedConv2d(1, edge_width, 3), nn.ReLU())
        self.conv_rgb = nn.Sequential(FlippedConv2d(3, edge_width, 3), nn.ReLU())
        self.conv_ctx = nn.ConvTranspose2d(width, edge_width, 2, stride=2)
        self.conv_concat = nn.Sequential(
            nn.Conv2d(3 * edge_width, 3 * edge_width, 3, padding=1),
            nn.ReLU(),
            FlippedConv2d(3 * edge_width, NEIGHBOURS, 1),
        )

    def forward(self, disparity: Tensor, image: Tensor, half: Tensor) -> Tensor:
        """disparity (B, 1, H, W) in px, image (B, 3, H, W) in [-1, 1], half (B, C, H/2, W/2)."""
        return self.conv_concat(join(self.conv_disp(join(disparity)), self.conv_rgb(image), self.conv_ctx(half)))


def mix_neighbours(maps: Tensor, logits: Tensor) -> Tensor:
    """Each output pixel as a convex combination of the 3x3 neighbours of the input pixel that holds it.

    maps: (B, M, h, w) float32; logits: (B, 9, s*h, s*w) for a whole scale s, one set for all M maps, neighbours in
    row-major order, the border repeated outwards. Returns (B, M, s*h, s*w) float32.
    """
    batch, count, height, width = maps.shape
    scale = logits.shape[-1] // width
    weights = logits.float().softmax(1).contiguous()
    weights = weights.view(batch, NEIGHBOURS, height, scale, width, scale)
    # Not F.pad(mode="replicate"): torch 2.13's compiler takes its gradient to have another layout, and fails.
    wide = torch.cat((maps[..., :1], maps, maps[..., -1:]), -1)
    padded = torch.cat((wide[..., :1, :], wide, wide[..., -1:, :]), -2)
    mixed = maps.new_zeros(())
    for k, weight in enumerate(weights.split(1, 1)):
        top, left = divmod(k, 3)
        neighbour = padded[:, :, top : top + height, None, left : left + width, None]
        mixed = torch.addcmul(mixed, neighbour, weight)
    return mixed.reshape(batch, count, height * scale, width * scale)

"""From quarter to full resolution by convex combinations of neighbours (spec section 10)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEIGHBOURS = 9


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
        return self.conv_concat(torch.cat((self.conv_x(hidden), self.conv_y(half)), 1))


class EdgeMask(nn.Module):
    """Mixing logits (B, 9, H, W) of the last, edge-guided step, from disparity, image and the stem's features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_disp = nn.Sequential(nn.ConvTranspose2d(1, 16, 3, padding=1), nn.ReLU())
        self.conv_rgb = nn.Sequential(nn.ConvTranspose2d(3, 16, 3, padding=1), nn.ReLU())
        self.conv_ctx = nn.ConvTranspose2d(width, 16, 2, stride=2)
        self.conv_concat = nn.Sequential(
            nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(48, NEIGHBOURS, 1)
        )

    def forward(self, disparity: Tensor, image: Tensor, half: Tensor) -> Tensor:
        """disparity (B, 1, H, W) in px, image (B, 3, H, W) in [-1, 1], half (B, C, H/2, W/2)."""
        return self.conv_concat(
            torch.cat((self.conv_disp(disparity), self.conv_rgb(image), self.conv_ctx(half)), 1)
        )


def mix_neighbours(maps: Tensor, logits: Tensor) -> Tensor:
    """Each output pixel as a convex combination of the 3x3 neighbours of the input pixel that holds it.

    maps: (B, M, h, w) float32; logits: (B, 9, s*h, s*w) for a whole scale s, one set for all M maps, neighbours in
    row-major order, the border repeated outwards. Returns (B, M, s*h, s*w) float32.
    """
    batch, count, height, width = maps.shape
    scale = logits.shape[-1] // width
    weights = logits.float().softmax(1)
    weights = weights.unflatten(3, (width, scale)).unflatten(2, (height, scale))
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    mixed = maps.new_zeros(())
    for k in range(NEIGHBOURS):
        top, left = divmod(k, 3)
        neighbour = padded[:, :, top : top + height, left : left + width]
        mixed = mixed + neighbour[:, :, :, None, :, None] * weights[:, k : k + 1]
    return mixed.reshape(batch, count, height * scale, width * scale)

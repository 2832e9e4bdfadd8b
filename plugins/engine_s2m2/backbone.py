"""The convolutional stem: images to features at half and quarter resolution."""

from __future__ import annotations

from torch import Tensor, nn

from engine_s2m2.blocks import GELU


class Backbone(nn.Module):
    """Features of normalised images."""

    def __init__(self, width: int, stem: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(nn.Conv2d(3, 16, 1), GELU(), nn.Conv2d(16, 16, 1))
        self.conv1_down = nn.Sequential(
            nn.Conv2d(16, stem, 5, stride=2, padding=2), GELU(), nn.Conv2d(stem, width, 3, padding=1)
        )
        self.norm1 = nn.GroupNorm(8, width)
        self.conv2 = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), GELU(), nn.Conv2d(width, width, 3, padding=1))
        self.conv2_down = nn.Sequential(nn.Conv2d(width, width, 3, stride=2, padding=1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) in [-1, 1] -> features (N, C, H/4, W/4) and (N, C, H/2, W/2)."""
        half = self.norm1(self.conv1_down(self.conv0(images)))
        half = self.conv2(half) + half
        return self.conv2_down(half), half

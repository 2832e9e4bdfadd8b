"""The convolutional blocks that every part of the network is made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GATE_RANGE = (0.01, 0.99)


def join(*maps: Tensor) -> Tensor:
    """Maps (B, c, H, W) joined along channels, in memory with the channels last.

    Convolutions, normalisation and attention over channels are fastest in that layout and keep it. `torch.cat` falls
    back to channels first as soon as one map has that layout, which a map of one channel always seems to have; even a
    single map is worth joining for that reason.
    """
    return torch.cat([x.permute(0, 2, 3, 1) for x in maps], -1).permute(0, 3, 1, 2)


def left_half(maps: Tensor) -> Tensor:
    """The maps of the left images (B, c, H, W) among those of both (2B, c, H, W).

    Cut with the channels last, because the gradient of a cut has the layout of what was cut.
    """
    return maps.permute(0, 2, 3, 1).chunk(2)[0].permute(0, 3, 1, 2)


class GELU(nn.GELU):
    """GELU of maps (B, c, H, W) with the channels last, for which the library has its fast form in plain order only."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, H, W) -> (B, c, H, W)."""
        return F.gelu(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GatedFusion(nn.Module):
    """Merge two maps (B, d, H, W) by a learned gate plus a learned residual.

    The order of the arguments matters: the gate weighs the first one.
    """

    def __init__(self, channels: int, kernel: int = 1) -> None:
        super().__init__()
        padding = kernel // 2
        self.feature_gate = nn.Sequential(
            nn.Conv2d(2 * channels, channels, kernel, padding=padding),
            GELU(),
            nn.Conv2d(channels, channels, 1),
            nn.Sigmoid(),
        )
        self.feature_fusion = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, kernel, padding=padding),
            GELU(),
            nn.Conv2d(2 * channels, channels, 1),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The fused map (B, d, H, W)."""
        both = join(first, second)
        gate = self.feature_gate(both).clamp(*GATE_RANGE)
        # second + gate * (first - second) is the weighted mean with one product fewer.
        return torch.addcmul(self.feature_fusion(both) + second, gate, first - second)


class ConvBlock(nn.Module):
    """Sum of a 3x3 branch (GELU) and a 1x1 branch (ReLU), without a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), GELU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.convs_1x = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, H, W) -> (B, d, H, W)."""
        return self.convs(x) + self.convs_1x(x)


class Down(nn.Sequential):
    """Halve the resolution by averaging, then change the width: (B, a, H, W) -> (B, b, H/2, W/2)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(nn.AvgPool2d(2), nn.Conv2d(channels, out_channels, 1))


class Up(nn.Sequential):
    """Double the resolution bilinearly and change the width: (B, a, H, W) -> (B, b, 2H, 2W)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.Conv2d(channels, out_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge the narrowed map.

        A pointwise convolution and an interpolation whose weights sum to one commute, so the convolution runs
        first, on a quarter of the pixels.
        """
        return F.interpolate(self[1](x), scale_factor=2, mode="bilinear", align_corners=False)

"""The U-Net used as feature pyramid and inside both refiners."""

from __future__ import annotations

from torch import Tensor, nn

from engine_s2m2.attention import GlobalAttention
from engine_s2m2.blocks import ConvBlock, Down, GatedFusion, Up

COARSE_HEADS = 8


class UNet(nn.Module):
    """Three halvings, attention over all pixels of the coarsest map, and the way back.

    widths: channels at full, half and quarter scale of the input; the eighth scale has those of the quarter scale.
    blocks: attention blocks on the way down, and as many on the way up. positional: whether the former know where
    pixels are.
    """

    def __init__(self, widths: tuple[int, int, int], blocks: int, positional: bool = False) -> None:
        super().__init__()
        d0, d1, d2 = widths
        self.down_conv0, self.down_conv1, self.down_conv2 = Down(d0, d1), Down(d1, d2), Down(d2, d2)
        self.up_conv0, self.up_conv1, self.up_conv2 = Up(d1, d0), Up(d2, d1), Up(d2, d2)
        self.concat_conv0, self.concat_conv1, self.concat_conv2 = GatedFusion(d0), GatedFusion(d1), GatedFusion(d2)
        self.enc0, self.enc1, self.enc2 = ConvBlock(d0), ConvBlock(d1), ConvBlock(d2)
        self.dec0, self.dec1, self.dec2 = ConvBlock(d0), ConvBlock(d1), ConvBlock(d2)
        self.enc3s = nn.ModuleList(GlobalAttention(d2, COARSE_HEADS, positional=positional) for _ in range(blocks))
        self.dec3s = nn.ModuleList(GlobalAttention(d2, COARSE_HEADS) for _ in range(blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, d0, H, W) -> maps at scales 1, 1/2, 1/4, 1/8 with d0, d1, d2, d2 channels; H, W multiples of 8."""
        z0 = self.enc0(x)
        z1 = self.enc1(self.down_conv0(z0))
        z2 = self.enc2(self.down_conv1(z1))
        z3 = self.down_conv2(z2)
        for block in (*self.enc3s, *self.dec3s):
            z3 = block(z3)
        y2 = self.dec2(self.concat_conv2(z2, self.up_conv2(z3)))
        y1 = self.dec1(self.concat_conv1(z1, self.up_conv1(y2)))
        y0 = self.dec0(self.concat_conv0(z0, self.up_conv0(y1)))
        return y0, y1, y2, z3

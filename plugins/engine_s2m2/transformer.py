"""The multi-resolution transformer, where left and right features learn of each other."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine_s2m2.attention import GlobalAttention, RowAttention
from engine_s2m2.blocks import Down, GatedFusion, Up
from engine_s2m2.unet import COARSE_HEADS

Pyramid = tuple[Tensor, Tensor, Tensor, Tensor]
"""Maps (2B, C, H/4, W/4), (2B, C, H/8, W/8), (2B, 2C, H/16, W/16), (2B, 2C, H/32, W/32), left images first."""


class MultiResolutionTransformer(nn.Module):
    """Row attention at three scales and global attention at the coarsest, down and up again."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        d0, d1, d2 = widths
        self.down_conv0, self.down_conv1, self.down_conv2 = Down(d0, d1), Down(d1, d2), Down(d2, d2)
        self.up_conv0, self.up_conv1, self.up_conv2 = Up(d1, d0), Up(d2, d1), Up(d2, d2)
        self.down_concat1, self.down_concat2, self.down_concat3 = GatedFusion(d1), GatedFusion(d2), GatedFusion(d2)
        self.up_concat0, self.up_concat1, self.up_concat2 = GatedFusion(d0), GatedFusion(d1), GatedFusion(d2)
        self.enc_attn0, self.enc_attn1, self.enc_attn2 = _row_attentions(d0, d1, d2)
        self.dec_attn0, self.dec_attn1, self.dec_attn2 = _row_attentions(d0, d1, d2)
        self.enc_attn3s = nn.ModuleList(GlobalAttention(d2, COARSE_HEADS, cross=True) for _ in range(2))
        self.dec_attn3s = nn.ModuleList(GlobalAttention(d2, COARSE_HEADS, cross=True) for _ in range(2))

    def forward(self, z0: Tensor, z1: Tensor, z2: Tensor, z3: Tensor) -> Pyramid:
        """A pyramid in, the same shapes out."""
        z0 = self.enc_attn0(z0)
        z1 = self.enc_attn1(self.down_concat1(z1, self.down_conv0(z0)))
        z2 = self.enc_attn2(self.down_concat2(z2, self.down_conv1(z1)))
        z3 = self.down_concat3(z3, self.down_conv2(z2))
        for block in (*self.enc_attn3s, *self.dec_attn3s):
            z3 = block(z3)
        z2 = self.dec_attn2(self.up_concat2(z2, self.up_conv2(z3)))
        z1 = self.dec_attn1(self.up_concat1(z1, self.up_conv1(z2)))
        z0 = self.dec_attn0(self.up_concat0(z0, self.up_conv0(z1)))
        return z0, z1, z2, z3


class TransformerStack(nn.Module):
    """Several multi-resolution transformers, one after the other."""

    def __init__(self, widths: tuple[int, int, int], count: int, checkpointing: bool = False) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.uformer_list = nn.ModuleList(MultiResolutionTransformer(widths) for _ in range(count))

    def forward(self, pyramid: Pyramid) -> Tensor:
        """A pyramid -> the finest map (2B, C, H/4, W/4) of the last transformer."""
        for transformer in self.uformer_list:
            if self.checkpointing and self.training:
                pyramid = checkpoint(transformer, *pyramid, use_reentrant=False, preserve_rng_state=False)
            else:
                pyramid = transformer(*pyramid)
        return pyramid[0]


def _row_attentions(d0: int, d1: int, d2: int) -> tuple[RowAttention, RowAttention, RowAttention]:
    return RowAttention(d0, 1), RowAttention(d1, 2), RowAttention(d2, 4)

"""The two refiners: one that fills what matching left open, one that iterates on local evidence."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine_s2m2.blocks import GELU, join
from engine_s2m2.correlation import RADIUS
from engine_s2m2.unet import UNet

CONFIDENT = 0.2
"""Matches below this confidence are replaced by the global refiner."""
GLOBAL_SCALE = 100.0
CORRELATION_SCALE = 16.0


def clamped_logit(probability: Tensor, margin: float) -> Tensor:
    """ln(y / (1 - y)) of y = probability clamped to [margin, 1 - margin], in float32."""
    return probability.float().clamp(margin, 1 - margin).logit()


class GlobalRefiner(nn.Module):
    """Disparities for pixels without a confident match, from their surroundings."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.init_feat = nn.Sequential(nn.Conv2d(width + 2, width, 3, padding=1), GELU(), nn.Conv2d(width, width, 1))
        self.refine_unet = UNet((width, width, width), blocks=1)
        self.out_feat = nn.Sequential(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, disparity: Tensor, confidence: Tensor, features: Tensor) -> Tensor:
        """Disparity (B, 1, H4, W4), quarter-resolution px, kept where confident and filled elsewhere.

        disparity, confidence: (B, 1, H4, W4); features: (B, C, H4, W4) of the left image.
        """
        kept = (confidence > CONFIDENT).to(disparity.dtype)
        inputs = join(disparity / GLOBAL_SCALE * kept, clamped_logit(kept * confidence, 0.1), features)
        filled = GLOBAL_SCALE * self.out_feat(self.refine_unet(self.init_feat(inputs))[0]).float()
        return kept * disparity + (1 - kept) * filled


class SeparableGRU(nn.Module):
    """A convolutional gated recurrent unit in two passes, vertical then horizontal."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for number, kernel, padding in ((1, (3, 1), (1, 0)), (2, (1, 3), (0, 1))):
            for gate in "zrq":
                self.add_module(f"conv{gate}{number}", nn.Conv2d(2 * width, width, kernel, padding=padding))

    def forward(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """The next hidden state (B, C, H, W)."""
        for update, reset, candidate in (
            (self.convz1, self.convr1, self.convq1),
            (self.convz2, self.convr2, self.convq2),
        ):
            # One convolution in place of two, which would each go through both maps.
            weight, bias = torch.cat((update.weight, reset.weight)), torch.cat((update.bias, reset.bias))
            gates = F.conv2d(join(hidden, inputs), weight, bias, padding=update.padding).sigmoid()
            change, keep = gates.chunk(2, 1)
            proposed = torch.tanh(candidate(join(keep * hidden, inputs)))
            hidden = torch.lerp(hidden, proposed, change)
        return hidden


class LocalRefiner(nn.Module):
    """One step of recurrent refinement."""

    def __init__(self, width: int, disparity_width: int, evidence_width: int) -> None:
        super().__init__()
        taps = 2 * RADIUS + 1
        wide, narrow = disparity_width, evidence_width
        self.disp_feat = nn.Sequential(nn.Conv2d(1, wide, 3, padding=1), GELU(), nn.Conv2d(wide, wide, 3, padding=1))
        self.corr_feat1 = nn.Sequential(nn.Conv2d(taps, wide, 1), GELU(), nn.Conv2d(wide, narrow, 1))
        self.corr_feat2 = nn.Sequential(nn.Conv2d(taps, wide, 1), GELU(), nn.Conv2d(wide, narrow, 1))
        self.conf_occ_feat = nn.Sequential(
            nn.Conv2d(2, narrow, 3, padding=1), GELU(), nn.Conv2d(narrow, narrow // 2, 1)
        )
        evidence = wide + 2 * narrow + width + narrow // 2
        self.disp_corr_ctx_cat = nn.Sequential(
            nn.Conv2d(evidence, 2 * width, 1), GELU(), nn.Conv2d(2 * width, width, 3, padding=1)
        )
        self.refine_unet = UNet((width, width, 2 * width), blocks=1)
        self.disp_update = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), GELU(), nn.Conv2d(width, 1, 3, padding=1, bias=False)
        )
        self.conf_occ_update = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), GELU(), nn.Conv2d(width, 2, 3, padding=1, bias=False)
        )
        self.gru = SeparableGRU(width)

    def forward(
        self,
        hidden: Tensor,
        disparity: Tensor,
        confidence: Tensor,
        visibility: Tensor,
        context: Tensor,
        correlation: Callable[[Tensor], tuple[Tensor, ...]],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The next hidden state, disparity, confidence and visibility, neither clamped nor masked.

        hidden, context: (B, C, H4, W4). disparity (quarter-resolution px), confidence, visibility: (B, 1, H4, W4).
        correlation: what `Volume.evidence` gives, fine and coarse taps (B, 9, H4, w) at columns of the right image.
        """
        columns = torch.arange(disparity.shape[-1], device=disparity.device, dtype=disparity.dtype)
        certainty = clamped_logit(join(confidence, visibility), 0.01)
        fine, coarse = correlation(columns - disparity.squeeze(1))
        evidence = join(
            self.disp_feat(join(disparity / GLOBAL_SCALE)),
            self.corr_feat1(fine / CORRELATION_SCALE),
            self.corr_feat2(coarse / CORRELATION_SCALE),
            context,
            self.conf_occ_feat(certainty),
        )
        hidden = self.gru(hidden, self.refine_unet(self.disp_corr_ctx_cat(evidence))[0])
        disparity = disparity + self.disp_update(hidden).float()
        confidence, visibility = (certainty + self.conf_occ_update(hidden).float()).sigmoid().chunk(2, 1)
        return hidden, disparity, confidence, visibility

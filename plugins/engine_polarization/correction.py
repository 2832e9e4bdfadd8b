"""A small network that reads polarisation and moves the base's disparity by a bounded amount."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from engine.prediction import Batch, Prediction
from engine_polarization.options import CorrectionOptions
from engine_polarization.pol_diff import CHANNELS, pol_diff


class PolarizationCorrection(nn.Module):
    """`correction = max_correction * tanh(raw)`, with `raw` from dilated convolutions over `pol_diff`.

    encoder: one 3 x 3 convolution a dilation; with the default ones a pixel sees 43 x 43 around it. head: the last
    convolution, which starts at zero, so that a fresh module changes nothing and its first gradient goes to the head.
    The head runs in float32 under any precision, because tanh rounds to exactly 1, with gradient exactly 0, from 3.5
    on in bfloat16 and only from 9 on in float32.
    """

    signal = ("polarization_left", "polarization_right")
    zero_init = True

    def __init__(self, options: CorrectionOptions) -> None:
        super().__init__()
        self.bound = options.max_correction
        widths = [len(CHANNELS)] + [options.width] * len(options.dilations)
        layers: list[nn.Module] = []
        for (inputs, outputs), dilation in zip(pairwise(widths), options.dilations, strict=True):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
            layers += [convolution, nn.ReLU(inplace=True)]
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Conv2d(options.width, 1, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        """The base's prediction with a correction (B, 1, H, W), px, of magnitude at most `bound`.

        batch: `polarization_left`, `polarization_right` (B, 2, H, W). alignment: (B, 1, H, W) px, the disparity along
        which the views are compared.
        """
        features = self.encoder(pol_diff(batch, base, alignment, self.bound))
        with torch.autocast(features.device.type, enabled=False):
            raw = self.head(features.float())
            correction = self.bound * torch.tanh(raw)
        return base.corrected(correction, raw)

    def correctable(self, batch: Batch) -> Tensor:
        """(B, 1, H, W) bool: valid pixels that the right view shows, 0 <= x - d <= W - 1 and not occluded.

        Data without an `occluded` mask is taken as free of occlusion.
        """
        return correctable(batch)


def correctable(batch: Batch) -> Tensor:
    """The pixels of `PolarizationCorrection.correctable`, for metrics that have no module at hand."""
    disparity = batch["disparity"]
    place = torch.arange(disparity.shape[-1], device=disparity.device, dtype=disparity.dtype) - disparity
    mask: Tensor = batch["valid"] & (place >= 0) & (place <= disparity.shape[-1] - 1)
    if "occluded" in batch:
        mask = mask & ~batch["occluded"]
    return mask

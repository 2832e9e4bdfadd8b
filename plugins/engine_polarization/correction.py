"""A small network that reads polarisation and moves the base's disparity by a bounded amount."""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.prediction import Batch, Prediction
from engine_polarization.ablations import mask_only, rotated
from engine_polarization.options import CorrectionOptions
from engine_polarization.pol_diff import CHANNELS, pol_diff

_BLOCK = 2  # pixels on a side that share one place in the network


class PolarizationCorrection(nn.Module):
    """`correction = max_correction * tanh(raw)`, with `raw` from dilated convolutions over `pol_diff`.

    encoder: every 2 x 2 block of pixels becomes channels of one, which costs a quarter and sees twice as far, then one
    3 x 3 convolution a dilation; with the default ones a pixel sees 86 x 86 around it. head: the last convolution, one
    output for each pixel of the block. It starts at zero, so that a fresh module changes nothing and the first gradient
    goes to the head. It runs in float32 under any precision, because tanh rounds to exactly 1, with gradient exactly 0,
    from 3.5 on in bfloat16 and only from 9 on in float32.
    """

    signal = ("polarization_left", "polarization_right")
    ablations = MappingProxyType({"rotated": rotated, "mask-only": mask_only})
    reads = (*signal, "disparity", "valid", "base.value", "base.confidence")
    zero_init = True
    bound_option = "max_correction"

    def __init__(self, options: CorrectionOptions) -> None:
        super().__init__()
        self.bound = options.max_correction
        widths = [len(CHANNELS) * _BLOCK**2] + [options.width] * len(options.dilations)
        layers: list[nn.Module] = [Blocks()]
        for (inputs, outputs), dilation in zip(pairwise(widths), options.dilations, strict=True):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
            # Without normalisation layers: this scale keeps the variance through the ReLUs, and batches do not matter.
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            layers += [convolution, nn.ReLU(inplace=True)]
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Conv2d(options.width, _BLOCK**2, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        """The base's prediction with a correction (B, 1, H, W), px, of magnitude at most `bound`.

        batch: `polarization_left`, `polarization_right` (B, 2, H, W), any size. alignment: (B, 1, H, W) px, the
        disparity along which the views are compared; nan where it is not known. No gradient flows into it.
        """
        signal = pol_diff(batch, base, alignment, self.bound)
        height, width = signal.shape[-2:]
        if height % _BLOCK or width % _BLOCK:
            signal = F.pad(signal, (0, -width % _BLOCK, 0, -height % _BLOCK), mode="replicate")
        features = self.encoder(signal)
        with torch.autocast(features.device.type, enabled=False):
            raw = F.pixel_shuffle(self.head(features.float()), _BLOCK)[..., :height, :width]
            correction = self.bound * torch.tanh(raw)
        return base.corrected(correction, raw)

    def correctable(self, batch: Batch) -> Tensor:
        """(B, 1, H, W) bool: valid pixels that the right view shows, 0 <= x - d <= W - 1 and not occluded.

        Data without an `occluded` mask is taken as free of occlusion.
        """
        return correctable(batch)


class Blocks(nn.Module):
    """`nn.PixelUnshuffle`, with the channels last in memory, where the convolutions behind it want them."""

    def forward(self, picture: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 4 C, H / 2, W / 2)."""
        size, channels, height, width = picture.shape
        places = picture.new_empty(size, height // _BLOCK, width // _BLOCK, channels, _BLOCK**2)
        for place in range(_BLOCK**2):  # a copy for each place in the block: in one go it takes seven times as long
            row, column = divmod(place, _BLOCK)
            places[..., place] = picture[:, :, row::_BLOCK, column::_BLOCK].permute(0, 2, 3, 1)
        return places.flatten(3).permute(0, 3, 1, 2)


def correctable(batch: Batch) -> Tensor:
    """The pixels of `PolarizationCorrection.correctable`, for metrics that have no module at hand."""
    disparity = batch["disparity"]
    place = torch.arange(disparity.shape[-1], device=disparity.device, dtype=disparity.dtype) - disparity
    mask: Tensor = batch["valid"] & (place >= 0) & (place <= disparity.shape[-1] - 1)
    if "occluded" in batch:
        mask = mask & ~batch["occluded"]
    return mask

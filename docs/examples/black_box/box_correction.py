"""The injection `box`: what a stereo matcher gets wrong, learnt from outside, from pictures and its answers."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from engine.hookspecs import Register, hookimpl
from engine.prediction import Batch, Prediction

ENGINE_API = 1

CHANNELS = 7  # the left picture, how far it is from the right one, where that is known, the box's answer and its mask
DILATIONS = (1, 2, 4, 8, 4, 1)  # at half resolution: a pixel sees 86 x 86 around it
BLOCK = 2  # pixels on a side that share one place in the network: a quarter of the work


class BoxOptions(BaseModel):
    """Options of the injection `box`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_correction: float = Field(gt=0, description="px at full resolution; no pixel is moved further than this")
    width: int = Field(32, ge=1, description="channels of each layer")


class BoxCorrection(nn.Module):
    """`correction = max_correction * tanh(raw)`, with `raw` from convolutions over pictures and answer.

    All that it needs of a base is `value` and, if there is one, `confidence`: no gradient, no feature, no parameter.
    """

    signal = ("left", "right")  # what the ablations take from another scene, or blank; the base keeps seeing its own
    reads = (*signal, "disparity", "valid", "base.value", "base.confidence")  # what the frozen-output cache has to keep
    zero_init = True  # a fresh module corrects by exactly 0; the engine checks it
    bound_option = "max_correction"

    def __init__(self, options: BoxOptions) -> None:
        super().__init__()
        self.bound = options.max_correction
        widths = [CHANNELS * BLOCK**2] + [options.width] * len(DILATIONS)
        layers: list[nn.Module] = [nn.PixelUnshuffle(BLOCK)]
        for (inputs, outputs), dilation in zip(pairwise(widths), DILATIONS, strict=True):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # or six layers leave little of the input
            layers += [convolution, nn.ReLU()]
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Conv2d(options.width, BLOCK**2, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        """The base's prediction with a correction (B, 1, H, W), px, of magnitude at most `bound`.

        batch: `left`, `right` (B, 3, H, W) in [0, 255]. alignment: (B, 1, H, W) px, the disparity along which the
        pictures are compared: the truth or the base's own, as the stage's `warp` says.
        """
        seen = channels(batch, base, alignment, self.bound)
        height, width = seen.shape[-2:]
        seen = F.pad(seen, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
        features = self.encoder(seen)
        with torch.autocast(features.device.type, enabled=False):  # tanh in bfloat16 is 1 long before the bound
            raw = F.pixel_shuffle(self.head(features.float()), BLOCK)[..., :height, :width]
            return base.corrected(self.bound * torch.tanh(raw), raw)

    def correctable(self, batch: Batch) -> Tensor:
        """(B, 1, H, W) bool: all valid pixels, occluded ones too; what stands beside them tells something of them."""
        valid: Tensor = batch["valid"]
        return valid


@torch.no_grad()
def channels(batch: Batch, base: Prediction, alignment: Tensor, bound: float) -> Tensor:
    """What the network sees, (B, 7, H, W) float32 of order one.

    The alignment itself is not part of it: in a stage with `warp = "gt"` it is the truth, and a network that sees it
    learns to copy it.
    """
    left, right = (batch[side].float() / 255 - 0.5 for side in ("left", "right"))
    warped, inside = along(right, alignment.float())
    apart = torch.where(inside, (left - warped).abs().mean(1, keepdim=True) * 4, torch.zeros_like(alignment))
    value = base.value.float() / bound
    confidence = torch.ones_like(value) if base.confidence is None else base.confidence.float()
    return torch.cat([left, apart, inside.float(), value, confidence], dim=1)


def along(right: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """The right picture (B, C, H, W) at x - d, linearly between columns, and whether that is inside, bool."""
    width = right.shape[-1]
    place = torch.arange(width, device=right.device, dtype=right.dtype) - disparity
    inside = (place >= 0) & (place <= width - 1)  # false for a disparity that is not a number, too
    place = torch.where(inside, place, torch.zeros_like(place))
    low = place.floor().clamp(max=width - 2)
    index = low.long().expand(right.shape)
    first, second = right.gather(-1, index), right.gather(-1, index + 1)
    return first + (place - low) * (second - first), inside


@hookimpl
def engine_injections(register: Register) -> None:
    """A bounded correction for any stereo base."""
    register("box", BoxOptions, BoxCorrection)

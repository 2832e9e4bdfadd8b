"""The injection `thermal`: two thermal images, aligned along a disparity, move the base's by a bounded amount."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from engine.hookspecs import Register, hookimpl
from engine.prediction import Batch, Prediction

ENGINE_API = 1

CHANNELS = ("difference", "seen by both", "thermal", "base disparity", "base confidence")
KELVIN = 2.0  # what counts as 1 for the network: most things are within a few kelvin of the room
DIFFERENCE = 0.5  # K; along the right disparity both cameras agree to within their noise of a tenth of a kelvin
DILATIONS = (1, 2, 4, 8, 4, 1)  # at half resolution: a pixel sees 86 x 86 around it, as large as a thing of glass
BLOCK = 2  # pixels on a side that share one place in the network: a quarter of the work


class CorrectionOptions(BaseModel):
    """Options of the injection `thermal`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_correction: float = Field(gt=0, description="px at full resolution; no pixel is moved further than this")
    width: int = Field(32, ge=1, description="channels of each layer")


class ThermalCorrection(nn.Module):
    """`correction = max_correction * tanh(raw)`, with `raw` from convolutions over the channels of `CHANNELS`."""

    signal = ("thermal", "thermal_other")  # what the ablations take from another scene, or blank
    reads = (*signal, "disparity", "valid", "base.value", "base.confidence")  # what the frozen-output cache has to keep
    zero_init = True  # a fresh module corrects by exactly 0; the engine checks it
    bound_option = "max_correction"

    def __init__(self, options: CorrectionOptions) -> None:
        super().__init__()
        self.bound = options.max_correction
        widths = [len(CHANNELS) * BLOCK**2] + [options.width] * len(DILATIONS)
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

        batch: `thermal`, `thermal_other` (B, 1, H, W), K. alignment: (B, 1, H, W) px, the disparity along which the two
        are compared: the truth or the base's own, as the stage's `warp` says.
        """
        seen = aligned(batch, base, alignment, self.bound)
        height, width = seen.shape[-2:]
        seen = F.pad(seen, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
        features = self.encoder(seen)
        with torch.autocast(features.device.type, enabled=False):  # tanh in bfloat16 is 1 long before the bound
            raw = F.pixel_shuffle(self.head(features.float()), BLOCK)[..., :height, :width]
            return base.corrected(self.bound * torch.tanh(raw), raw)

    def correctable(self, batch: Batch) -> Tensor:
        """(B, 1, H, W) bool: valid pixels that the right camera sees too, as far as the data set tells."""
        columns = torch.arange(batch["disparity"].shape[-1], device=batch["disparity"].device)
        seen: Tensor = batch["valid"] & (columns - batch["disparity"] >= 0)
        return seen & ~batch["occluded"] if "occluded" in batch else seen


@torch.no_grad()
def aligned(batch: Batch, base: Prediction, alignment: Tensor, bound: float) -> Tensor:
    """The channels of `CHANNELS`, (B, 5, H, W) float32 of order one.

    The alignment itself is none of them: in a stage with `warp = "gt"` it is the truth, and a network that sees it
    learns to copy it.
    """
    thermal, other = batch["thermal"].float(), batch["thermal_other"].float()
    warped, seen = along(other, alignment.float())
    if "valid" in batch and "disparity" in batch:  # in use there is no truth
        seen = seen & (batch["valid"] | (alignment != batch["disparity"]))  # a truth that says nothing here
    difference = torch.where(seen, thermal - warped, torch.zeros_like(thermal)) / DIFFERENCE
    value = torch.asinh(base.value.float() / bound) / 2
    confidence = torch.ones_like(value) if base.confidence is None else base.confidence.float()
    return torch.cat([difference.clamp(-4, 4), seen.float(), thermal / KELVIN, value, confidence], dim=1)


def along(other: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """The right view's map (B, 1, H, W) at x - d, linearly between columns, and whether that is inside, bool."""
    width = other.shape[-1]
    place = torch.arange(width, device=other.device, dtype=other.dtype) - disparity
    inside = (place >= 0) & (place <= width - 1)  # false for a disparity that is not a number, too
    place = torch.where(inside, place, torch.zeros_like(place))
    low = place.floor().clamp(max=width - 2)
    first, second = (other.gather(-1, low.long() + step) for step in (0, 1))
    return first + (place - low) * (second - first), inside


@hookimpl
def engine_injections(register: Register) -> None:
    """The bounded correction from a pair of thermal images."""
    register("thermal", CorrectionOptions, ThermalCorrection)

"""How far off each pixel may be: a loss that learns it, and a small network that tells it for any base.

The error of a disparity is taken for a Laplace variable of scale b px, whose mean absolute value is b (Kendall and Gal
2017, with the Laplace distribution of their section 3 for L1). Scales travel as features["log_scale"] (B, 1, H, W),
log of px.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import InputError
from engine.prediction import Batch, Prediction
from engine_stereo.losses import error_of, mean_over
from engine_stereo.options import LaplaceOptions, UncertaintyOptions
from engine_stereo.photometric import moved_right

_PROBABILITY_FLOOR = 1e-6  # of a confidence, whose logarithm is taken
_LOG_SCALE = 5.0  # scales lie between e^-5 and e^5, 0.007 and 148 px: no pixel of a fresh module weighs without bound
_UNIT = 32.0  # px; brings disparities near the size of the picture's channels
_CHANNELS = 9


class Laplace:
    """Negative log likelihood of the error, |e| / b + log(2 b), nats a pixel.

    For a fixed error it is smallest at b = |e|. The scale is the prediction's features["log_scale"]; else it follows
    from a confidence c, "the error is below `threshold` px with probability c": b = threshold / -log(1 - c). Where an
    injection leaves the base's scale or confidence as it is, the error is the base's own, before the correction.
    """

    reads = ("disparity", "valid", "base.value", "base.confidence", "base.features.log_scale")

    def __init__(self, options: LaplaceOptions) -> None:
        self.threshold = options.threshold

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `value` (B, 1, H, W) against `disparity`, where `valid`; InputError where no scale is known."""
        mask: Tensor = batch["valid"]
        base = prediction.base
        judged = base if base is not None and _told(base) is _told(prediction) else prediction
        with torch.autocast(prediction.value.device.type, enabled=False):
            log_scale = torch.where(mask, self._log_scale(prediction), 0.0)
            error = error_of(judged.value, batch["disparity"], mask).abs()
            likelihood = error * torch.exp(-log_scale) + log_scale + math.log(2)
            return mean_over(mask, torch.where(mask, likelihood, 0.0))

    def _log_scale(self, prediction: Prediction) -> Tensor:
        told = _told(prediction)
        if told is None:
            raise InputError(
                "the loss 'laplace' needs a model that tells how sure it is, and this one tells neither a scale nor a "
                "confidence",
                '[injection] plugin = "uncertainty" learns a scale for any model',
            )
        if "log_scale" in prediction.features:
            return told.float()
        confidence = told.float().clamp(_PROBABILITY_FLOOR, 1 - _PROBABILITY_FLOOR)
        return math.log(self.threshold) - (-(-confidence).log1p()).log()


def _told(prediction: Prediction) -> Tensor | None:
    """What an answer says of its error: its scale, else its confidence."""
    return prediction.features.get("log_scale", prediction.confidence)


class Uncertainty(nn.Module):
    """An injection that leaves the disparity as it is and says how far off it may be.

    It sees the left view, how unlike the right one moved by the disparity is, and the disparity with its surroundings.
    Nothing of it flows back into the base; the loss itself does. A fresh one says 1 px everywhere.
    """

    signal = ("left", "right")
    reads = (*signal, "valid", "base.value")
    zero_init = True
    bound = 0.0

    def __init__(self, options: UncertaintyOptions) -> None:
        super().__init__()
        self.threshold = options.threshold
        layers: list[nn.Module] = []
        for inputs, dilation in ((_CHANNELS, 1), (options.width, 2), (options.width, 4)):
            layers += [nn.Conv2d(inputs, options.width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(options.width, 1, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        """The base's answer with features["log_scale"] and the `confidence` (B, 1, H, W) that follows from it.

        The disparity that is judged is the base's own, whatever `alignment` is.
        """
        features = self.body(_seen(batch, base.value.detach().float()))
        with torch.autocast(features.device.type, enabled=False):
            log_scale = _LOG_SCALE * torch.tanh(self.head(features.float()) / _LOG_SCALE)
            confidence = -torch.expm1(-self.threshold * torch.exp(-log_scale))
        nothing = torch.zeros_like(base.value, dtype=torch.float32)
        told = {**base.features, "log_scale": log_scale}
        return replace(base.corrected(nothing, nothing), confidence=confidence, features=told)

    def correctable(self, batch: Batch) -> Tensor:
        """(B, 1, H, W) bool: every valid pixel has an error."""
        valid: Tensor = batch["valid"]
        return valid


def _seen(batch: Batch, value: Tensor) -> Tensor:
    """(B, 9, H, W): left view, difference of the views, disparity, its distance from its surroundings, inside."""
    left, right = batch["left"].float() / 255, batch["right"].float() / 255
    moved, inside = moved_right(right, value)
    around = F.avg_pool2d(F.pad(value, (2, 2, 2, 2), mode="replicate"), 5, 1)
    return torch.cat([left, (left - moved).abs(), value / _UNIT, value - around, inside.float()], 1)

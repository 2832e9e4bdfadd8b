"""Whatever a network returns as the engine's prediction: positive disparities in px at full resolution."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from engine.errors import PluginError
from engine.prediction import Prediction
from engine_checkouts.padding import Padding
from engine_checkouts.preset import Answer, Place


def prediction(result: Any, answer: Answer, padding: Padding) -> Prediction:
    """A prediction whose `value` (B, 1, H, W) is the last estimate, and whose `intermediates` are those before it.

    Both are float32. Estimates of another resolution have their values changed with their width, so that all are px at
    full resolution; the value is interpolated to the image's size too. features["initial"] (B, 1, ceil(H / s),
    ceil(W / s)) is the first estimate of a network that has one beside its iterations. PluginError for a result of
    another build than `answer` says.
    """
    found = _at(result, answer.estimates)
    estimates = [
        _full_pixels(each, answer, padding) for each in (found if isinstance(found, list | tuple) else [found])
    ]
    if not estimates:
        raise PluginError("the network returned no estimate: it was run for no iteration")
    value = estimates[-1]
    if value.shape[-2:] != padding.padded:
        value = F.interpolate(value, size=padding.padded, mode="bilinear", align_corners=False)
    features = {}
    if answer.initial is not None:
        features["initial"] = padding.crop(_full_pixels(_at(result, answer.initial), answer, padding))
    return Prediction(padding.crop(value), [padding.crop(each) for each in estimates[:-1]], features=features)


def _at(result: Any, place: Place) -> Any:
    found = result
    for key in place:
        try:
            found = found[key]
        except (KeyError, IndexError, TypeError) as error:
            raise PluginError(
                f"the network returned {_described(result)}, and its preset looks in it for {list(place)}"
            ) from error
    return found


def _full_pixels(estimate: Any, answer: Answer, padding: Padding) -> Tensor:
    """(B, 1, h, w) float32 of a disparity (B, h, w) or (B, C, h, w), of which the first channel is horizontal."""
    if not isinstance(estimate, Tensor) or estimate.ndim not in (3, 4):
        raise PluginError(
            f"the network returned {_described(estimate)} for a disparity; expected a tensor (B, 1, H, W)"
        )
    disparity = estimate.float() if estimate.ndim == 4 else estimate.float().unsqueeze(1)
    scale = padding.padded[1] / disparity.shape[-1] if answer.own_pixels else 1.0
    return answer.sign * scale * disparity[:, :1]


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, dict):
        return f"a dict with {', '.join(map(str, value))}"
    return (
        f"a {type(value).__name__} of {len(value)}" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
    )

"""The norm of the gradients, and their bound."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.training.meter import Number


def clip(parameters: Sequence[Tensor], bound: float | None, waits: bool) -> Number:
    """Scale all gradients by one factor so that their norm is at most `bound`; the norm they had, not scaled.

    waits: whether figures are there at once, so that a norm below the bound leaves the gradients untouched. A device is
    not waited for: it multiplies by 1.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not waits or not gradients:
        norm = nn.utils.get_total_norm(gradients)
        if bound is not None:
            nn.utils.clip_grads_with_norm_(parameters, bound, norm)
        return norm
    # The same, bit for bit, without the time that torch takes to sort tensors by device and type.
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in gradients]))
    figure: float = norm.item()
    if bound is not None and not figure + 1e-6 < bound:
        factor = (bound / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor)
    return figure

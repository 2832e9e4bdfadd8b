"""Figures over the pixels of a mask, one per sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.errors import InputError
from engine.prediction import Batch
from engine_stereo.regions import parse_region


def region_mask(expression: str, batch: Batch) -> Tensor | None:
    """The valid pixels of a region, (B, 1, H, W) bool, or None when the batch lacks a mask that the region names.

    Raises InputError when the region names a field that is not a boolean mask.
    """
    mask: Tensor = batch["valid"]
    for field, wanted in parse_region(expression):
        if field not in batch:
            return None
        part = batch[field]
        if not isinstance(part, Tensor) or part.dtype != torch.bool:
            masks = sorted(name for name, value in batch.items() if getattr(value, "dtype", None) == torch.bool)
            raise InputError(
                f"the region {expression!r} names {field!r}, which is no mask; masks are {', '.join(masks)}"
            )
        mask = mask & (part if wanted else ~part)
    return mask


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sums of `values` (B, ...) over each sample's `mask` (B, ...), (B,); what lies outside may be nan or infinite."""
    return torch.where(mask, values, torch.zeros_like(values)).flatten(1).sum(1)


def masked_count(mask: Tensor) -> Tensor:
    """The pixels of each sample's mask, (B,) float32."""
    return mask.flatten(1).sum(1).float()


def masked_quantiles(values: Tensor, mask: Tensor, probabilities: Sequence[float]) -> Tensor:
    """Quantiles of `values` (B, ...) over each sample's mask, (B, len(probabilities)); nan where the mask is empty.

    Between two order statistics the quantile is interpolated linearly. Infinite values are the largest, not an error.
    """
    rows = []
    for sample, chosen in zip(values, mask, strict=True):
        ordered = sample[chosen].float().sort().values
        if ordered.numel() == 0:
            rows.append(values.new_full((len(probabilities),), torch.nan, dtype=torch.float32))
            continue
        position = torch.tensor(probabilities, dtype=torch.float64, device=ordered.device) * (ordered.numel() - 1)
        lower, upper = ordered[position.floor().long()], ordered[position.ceil().long()]
        fraction = (position - position.floor()).float()
        # Two infinite neighbours, or a position right on one, must not become inf - inf or 0 * inf.
        between = lower + fraction * (upper - lower)
        rows.append(torch.where((fraction == 0) | (lower == upper), lower, between))
    return torch.stack(rows)

"""What a model returns and what flows between base, injection, losses, metrics and gates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

Batch = dict[str, Any]
"""A collated sample: named tensors (B, C, H, W), booleans for masks, lists of strings for names.

The engine itself reads `valid` (B, 1, H, W) bool, `scene` and `id` (lists of B strings), and the field that the
model's registration names as its target. Every other name belongs to the plugins.
"""


@dataclass
class Prediction:
    """A model's answer for a batch.

    value: (B, C, H, W), the estimate, in the target's units.
    intermediates: earlier estimates of `value`, coarse to fine, any resolution, values in the target's units.
    confidence: (B, 1, H, W) in [0, 1], probability that `value` is right by the model's own rule.
    visibility: (B, 1, H, W) in [0, 1], 1 where the pixel is seen by every input.
    features: further named tensors that losses or injections read.
    base, correction, raw: set by `corrected`: the uncorrected prediction, the bounded correction that was added to
    its value, and the unbounded number behind it (float32, before tanh), all of the value's shape.
    """

    value: Tensor
    intermediates: list[Tensor] = field(default_factory=list)
    confidence: Tensor | None = None
    visibility: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    base: Prediction | None = None
    correction: Tensor | None = None
    raw: Tensor | None = None

    def corrected(self, correction: Tensor, raw: Tensor) -> Prediction:
        """This prediction with `correction` (B, C, H, W) added to its value."""
        return replace(self, value=self.value + correction, base=self, correction=correction, raw=raw)

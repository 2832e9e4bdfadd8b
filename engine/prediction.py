"""What a model returns and what flows between base, injection, losses, metrics and gates."""

from __future__ import annotations

from collections.abc import Mapping
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

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of a base's own answer by name, such as "value", "intermediates.0" and "features.left"."""
        named: dict[str, Tensor | None] = {name: getattr(self, name) for name in ("value", "confidence", "visibility")}
        named |= {f"intermediates.{number}": tensor for number, tensor in enumerate(self.intermediates)}
        named |= {f"features.{name}": tensor for name, tensor in self.features.items()}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Prediction:
        """The prediction whose `tensors()` these are, in the same order."""
        parts: dict[str, Any] = {"intermediates": [], "features": {}}
        for name, tensor in tensors.items():
            group, _, within = name.partition(".")
            if group == "intermediates":
                parts[group].append(tensor)
            elif group == "features":
                parts[group][within] = tensor
            else:
                parts[name] = tensor
        return cls(**parts)

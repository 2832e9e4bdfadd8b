"""A base that sees its pictures smaller than they are: less time, and less to see."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from engine.prediction import Batch, Prediction

PICTURES = ("left", "right")


class Scaled(nn.Module):
    """`base` on pictures of `scale` times the size; its disparity is brought back to px at full resolution.

    Confidence and visibility are brought back to the size too. What else the base answers is left out.
    """

    def __init__(self, base: nn.Module, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale

    def forward(self, batch: Batch) -> Prediction:
        """The answer at the size of batch["left"], (B, 3, H, W); sides are rounded to whole pixels."""
        height, width = batch["left"].shape[-2:]
        small = (max(1, round(self.scale * height)), max(1, round(self.scale * width)))
        pictures = {
            name: F.interpolate(batch[name].float(), size=small, mode="bilinear", align_corners=False, antialias=True)
            for name in PICTURES
        }
        answer = self.base({**batch, **pictures})

        def enlarged(part: Tensor | None) -> Tensor | None:
            if part is None:
                return None
            return F.interpolate(part, size=(height, width), mode="bilinear", align_corners=False)

        value = enlarged(answer.value) * (width / small[1])
        return Prediction(value, confidence=enlarged(answer.confidence), visibility=enlarged(answer.visibility))

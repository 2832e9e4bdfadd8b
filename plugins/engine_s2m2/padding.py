"""Images of any size for a network that needs multiples of 32."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from engine.errors import InputError, Problem

MULTIPLE = 32


@dataclass(frozen=True)
class Padding:
    """Margins in px that bring an image to the next multiple of 32 on both axes."""

    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.height, self.width) < MULTIPLE:
            raise InputError(
                Problem(
                    "",
                    f"images are {self.height} x {self.width} px, but S2M2 needs at least {MULTIPLE} px on each side",
                    f"sizes that are multiples of {MULTIPLE}",
                )
            )

    @property
    def needed(self) -> bool:
        """Whether the size is no multiple of 32 yet."""
        return self.height % MULTIPLE != 0 or self.width % MULTIPLE != 0

    def pad(self, image: Tensor) -> Tensor:
        """(B, C, H, W) centred in the padded size; the margin holds a blurred, darkened copy of the image."""
        if not self.needed:
            return image
        top, left, height, width = self._margins()
        around = (left, width - self.width - left, top, height - self.height - top)
        blurred = F.adaptive_avg_pool2d(F.pad(image, around), (self.height // MULTIPLE, self.width // MULTIPLE))
        padded = F.interpolate(blurred, size=(height, width), mode="bilinear", align_corners=False)
        padded[..., top : top + self.height, left : left + self.width] = image
        return padded

    def crop(self, padded: Tensor) -> Tensor:
        """The part of (B, C, padded H, padded W) that belongs to the image."""
        if not self.needed:
            return padded
        top, left, _, _ = self._margins()
        return padded[..., top : top + self.height, left : left + self.width]

    def _margins(self) -> tuple[int, int, int, int]:
        height, width = (-(-size // MULTIPLE) * MULTIPLE for size in (self.height, self.width))
        return (height - self.height) // 2, (width - self.width) // 2, height, width

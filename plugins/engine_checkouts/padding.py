"""Images of any size for a network that needs multiples of some number of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Padding:
    """Margins at the right and at the bottom, so that no column, and with it no disparity, moves."""

    height: int
    width: int
    multiple: int

    @property
    def padded(self) -> tuple[int, int]:
        """The padded height and width."""
        return -(-self.height // self.multiple) * self.multiple, -(-self.width // self.multiple) * self.multiple

    def pad(self, image: Tensor) -> Tensor:
        """(B, C, H, W) with its last column and row repeated in the margins."""
        height, width = self.padded
        if (height, width) == (self.height, self.width):
            return image
        return F.pad(image, (0, width - self.width, 0, height - self.height), mode="replicate")

    def crop(self, estimate: Tensor) -> Tensor:
        """The part of a map of the padded image that belongs to the image; its size may be a fraction of the image's.

        A map of 1 / s of the size keeps ceil(H / s) rows and ceil(W / s) columns, one for each s-th pixel from the
        image's first.
        """
        rows, columns = (-(-own * size // full) for own, size, full in self._sides(estimate))
        return estimate[..., :rows, :columns]

    def _sides(self, estimate: Tensor) -> list[tuple[int, int, int]]:
        return list(zip((self.height, self.width), estimate.shape[-2:], self.padded, strict=True))

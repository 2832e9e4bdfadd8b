"""The correlation of every row of the left view with the same row of the right one, and what is looked up in it.

It is the one thing in the network that grows with the height and the square of the width: at 2,000 x 1,350 px each map
of that size takes 340 MB, and the optimal transport makes several. So evaluation goes through it in bands of rows,
which know nothing of each other; the numbers are the same to the bit. Everything here runs in float32 whatever the
precision of the network: sums of exponentials of unscaled correlations do not survive half precision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RADIUS = 4

BAND = 2**22
"""Numbers in one band, 16 MB. At 2,000 px, on one CPU thread, matching took 0.8 of the time of all rows at once, and
0.7 of that of bands of 64 MB. Bands of 4 MB were faster still (0.6), but a GPU would get many small steps."""

Look = Callable[[Tensor, slice], tuple[Tensor, ...]]
"""look(K of some rows, which rows): maps (B, C, rows, w) of them."""


class Correlation(nn.Module):
    """All inner products between normalised left and right features of a row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Volume:
        """(2B, C, H4, W4), left images first; whole in training, and where it is one band."""
        with torch.autocast(features.device.type, enabled=False):
            left, right = self.layer_norm(features.float().permute(0, 2, 3, 1)).chunk(2)
            return Volume(left, right, whole=self.training or torch.is_grad_enabled())


class Volume:
    """K (B, H4, w, w) float32, indexed [left column, right column], of features (B, H4, w, C): kept, or made in bands.

    whole: K, or None where it is not kept.
    """

    def __init__(self, left: Tensor, right: Tensor, whole: bool) -> None:
        images, rows, width, _ = left.shape
        self.left, self.right = left, right
        self.height = max(1, BAND // (images * width**2))  # rows a band
        self.whole = self._of(slice(None)) if whole or self.height >= rows else None

    def look(self, look: Look) -> tuple[Tensor, ...]:
        """What `look` gives for all rows, (B, C, H4, w)."""
        if self.whole is not None:
            return look(self.whole, slice(None))
        rows = range(0, self.left.shape[1], self.height)
        bands = [slice(first, first + self.height) for first in rows]
        found = [look(self._of(band), band) for band in bands]
        return tuple(torch.cat(maps, 2) for maps in zip(*found, strict=True))

    def evidence(self) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """For positions (B, H4, w), columns of the right image: `lookup` in K, and at half of each in pairwise means.

        The means are of two right columns; the row is even, as the image's width is a multiple of 32.
        """
        if (whole := self.whole) is not None:
            coarse = _halved(whole)
            return lambda position: (lookup(whole, position), lookup(coarse, position / 2))

        def in_bands(position: Tensor) -> tuple[Tensor, ...]:
            def look(band: Tensor, rows: slice) -> tuple[Tensor, ...]:
                return lookup(band, position[:, rows]), lookup(_halved(band), position[:, rows] / 2)

            return self.look(look)

        return in_bands

    def _of(self, rows: slice) -> Tensor:
        with torch.autocast(self.left.device.type, enabled=False):
            return self.left[:, rows] @ self.right[:, rows].transpose(-1, -2)


def lookup(correlation: Tensor, position: Tensor) -> Tensor:
    """Linearly interpolated correlation at position - 4 .. position + 4, zero outside the row.

    correlation: (B, H4, w, n). position: (B, H4, w), column of the right image. Returns (B, 9, H4, w).
    """
    start = position.detach().floor()
    taps = window(correlation, start.long() - RADIUS, 2 * RADIUS + 2)
    fraction = (position - start).unsqueeze(-1)
    return torch.lerp(taps[..., :-1], taps[..., 1:], fraction).permute(0, 3, 1, 2)


def window(volume: Tensor, start: Tensor, count: int) -> Tensor:
    """`count` neighbouring entries of each row of a volume, zero outside it.

    volume: (B, H, w, n). start: (B, H, w) int64, index of the first entry, any value. Returns (B, H, w, count).
    """
    index = start.unsqueeze(-1) + torch.arange(count, device=start.device)
    last = volume.shape[-1] - 1
    inside = (index >= 0) & (index <= last)
    return volume.gather(-1, index.clamp(0, last)) * inside


def _halved(correlation: Tensor) -> Tensor:
    return F.avg_pool1d(correlation.flatten(0, 1), 2).unflatten(0, correlation.shape[:2])

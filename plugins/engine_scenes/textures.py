"""Albedo textures: tileable procedural pictures, and an atlas that looks all of them up at once with mip levels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 5
KINDS = ("fractal", "cells", "checker", "stripes", "patches")


def _noise(rng: np.random.Generator, size: int, slope: float, finest: float) -> np.ndarray:
    """Tileable Gaussian noise (size, size), zero mean and unit variance.

    slope: amplitude falls as frequency to that power. finest: wavelength in texels below which it fades out, so that
    bilinear lookup and the camera's pixels can carry what is there.
    """
    amplitude = _spectrum(size, slope, finest)
    phase = torch.from_numpy(rng.standard_normal((*amplitude.shape, 2), dtype=np.float32))
    field = torch.fft.irfft2(torch.view_as_complex(phase * amplitude[..., None]), s=(size, size)).numpy()
    return field / field.std()


@lru_cache(maxsize=32)
def _spectrum(size: int, slope: float, finest: float) -> Tensor:
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    f = np.sqrt(fy * fy + fx * fx)
    f[0, 0] = 1
    amplitude = f**-slope * np.exp(-((f * finest) ** 4))
    amplitude[0, 0] = 0
    return torch.from_numpy(amplitude.astype(np.float32))


def _palette(rng: np.random.Generator, count: int) -> np.ndarray:
    """Linear RGB albedos (count, 3) in about [0.04, 0.85], from dark to bright in random order."""
    value = np.linspace(0.08, 0.75, count) * rng.uniform(0.8, 1.2, count)
    rng.shuffle(value)
    tint = rng.uniform(0.55, 1.3, (count, 3))
    return np.clip(value[:, None] * tint / tint.mean(1, keepdims=True), 0.03, 0.85).astype(np.float32)


def _pattern(rng: np.random.Generator, kind: str, size: int) -> np.ndarray:
    ramp = np.arange(size) / size
    if kind == "fractal":
        a, b, c = _palette(rng, 3)
        one = _noise(rng, size, 1.3, 3.0)[..., None]
        mix = 0.5 + 0.5 * np.tanh(1.5 * one)
        other = 0.5 + 0.5 * np.tanh(1.5 * np.roll(one, (size // 3, size // 5), (0, 1)))
        return a * mix + (b * other + c * (1 - other)) * (1 - mix)
    if kind == "cells":
        count = int(rng.integers(24, 64))
        sites = rng.random((2, count), dtype=np.float32)
        across = [np.abs(ramp[:, None].astype(np.float32) - site) for site in sites]
        y, x = (np.minimum(gap, 1 - gap) ** 2 for gap in across)
        return _palette(rng, count)[(y[:, None] + x[None]).argmin(-1)]
    if kind == "checker":
        cells = int(rng.choice([8, 12, 16, 24]))
        board = (np.floor(ramp * cells)[:, None] + np.floor(ramp * cells)[None]) % 2
        a, b = _palette(rng, 2)
        return a + (b - a) * board[..., None]
    if kind == "stripes":
        # Whole numbers of waves in both directions, or the tile would show its seam.
        kx, ky = rng.integers(3, 14, 2) * rng.choice([-1, 1], 2)
        bend = 0.5 * _noise(rng, size, 2.0, 16.0)
        wave = np.sin(2 * np.pi * (kx * ramp[None] + ky * ramp[:, None]) + bend)
        a, b = _palette(rng, 2)
        return a + (b - a) * (0.5 + 0.5 * np.tanh(3 * wave))[..., None]
    levels = np.digitize(_noise(rng, size, 1.6, 6.0), (-0.9, -0.3, 0.3, 0.9))
    return _palette(rng, 5)[levels]


def albedo(rng: np.random.Generator, kind: str, size: int) -> Tensor:
    """A tileable albedo picture (size, size, 3), linear RGB in [0.02, 0.9]: a pattern times two scales of grain."""
    grain = 0.20 * _noise(rng, size, 0.0, 3.0) + 0.18 * _noise(rng, size, 0.6, 6.0)
    picture = _pattern(rng, kind, size) * (1 + grain)[..., None]
    return torch.from_numpy(np.clip(picture, 0.02, 0.9).astype(np.float32))


class Atlas:
    """Every texture of a scene with its mip levels, in one table of colours."""

    def __init__(self, pictures: list[Tensor]) -> None:
        """pictures: (size, size, 3) each, size a power of two and at least 2 ** LEVELS."""
        rows, starts, sizes, at = [], [], [], 0
        for picture in pictures:
            level = picture.permute(2, 0, 1)[None]
            for _ in range(LEVELS):
                size = level.shape[-1]
                rows.append(level[0].permute(1, 2, 0).reshape(-1, 3))
                starts.append(at)
                sizes.append(size)
                at += size * size
                level = F.avg_pool2d(level, 2)
        self._table = torch.cat(rows)
        self._start = torch.tensor(starts, dtype=torch.int32)
        self._size = torch.tensor(sizes, dtype=torch.int32)

    def lookup(self, texture: Tensor, uv: Tensor, footprint: Tensor) -> Tensor:
        """Colours (3, N), trilinear.

        texture: (N,) which picture. uv: (2, N) in texels of the finest level. footprint: (N,) texels a ray covers.
        """
        depth = torch.log2(footprint.clamp_min(1)).clamp_max(LEVELS - 1.001)
        low = depth.to(torch.int32)
        mix = (depth - low)[:, None]
        slot = texture * LEVELS + low
        scale = torch.exp2(-low.to(uv.dtype))
        fine = self._bilinear(slot, uv * scale)
        coarse = self._bilinear(slot + 1, uv * (0.5 * scale))
        return torch.lerp(fine, coarse, mix).T

    def _bilinear(self, slot: Tensor, uv: Tensor) -> Tensor:
        start, size = self._start[slot], self._size[slot]
        mask = size - 1
        base = torch.floor(uv - 0.5)
        wx, wy = (uv - 0.5 - base)[:, :, None]
        x0, y0 = base.to(torch.int32)
        x1, y1 = (x0 + 1) & mask, (y0 + 1) & mask
        x0, y0 = x0 & mask, y0 & mask
        y0, y1 = start + y0 * size, start + y1 * size
        t = self._table
        top = torch.lerp(t.index_select(0, y0 + x0), t.index_select(0, y0 + x1), wx)
        bottom = torch.lerp(t.index_select(0, y1 + x0), t.index_select(0, y1 + x1), wx)
        return torch.lerp(top, bottom, wy)

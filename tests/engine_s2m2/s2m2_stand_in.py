"""Deterministic stand-in weights and images, by which this network is compared with figures of the published one."""

from __future__ import annotations

from math import pi
from zlib import crc32

import torch
from torch import Tensor

WAVES = (
    (34, 0.0131, 0.0073, 0.4),
    (28, 0.0317, -0.0191, 1.3),
    (22, 0.0613, 0.0419, 2.1),
    (18, 0.1093, -0.0557, 0.9),
    (14, 0.1781, 0.0877, 1.7),
)
FACTORS = {"disp_init.layer_norm.weight": 0.585, "global_refiner.out_feat.0.weight": 0.02}


def stand_in_tensor(key: str, shape: torch.Size) -> Tensor:
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(crc32(key.encode("ascii"))))
    if len(shape) >= 2:
        numbers = numbers / (numbers.numel() / shape[0]) ** 0.5
    elif key.endswith("bias"):
        numbers = 0.1 * numbers
    else:
        numbers = 1 + 0.1 * numbers
    return numbers * FACTORS.get(key, 1)


def fill(model: torch.nn.Module) -> torch.nn.Module:
    model.load_state_dict({key: stand_in_tensor(key, tensor.shape) for key, tensor in model.state_dict().items()})
    return model


def image_pair(height: int, width: int, batch: int) -> tuple[Tensor, Tensor]:
    """Left and right (batch, 3, height, width) float32."""
    y = torch.arange(height, dtype=torch.float64)[:, None]
    x = torch.arange(width, dtype=torch.float64)[None, :]
    pairs = []
    for b in range(batch):
        shift = (6 + 3 * b) + (12 - 4 * b) * y / (height - 1)
        pairs.append((_scene(x, y, b), _scene(x + shift, y, b)))
    left, right = zip(*pairs, strict=True)
    return torch.stack(left).float(), torch.stack(right).float()


def _scene(x: Tensor, y: Tensor, b: int) -> Tensor:
    channels = []
    for c in range(3):
        waves = (a * torch.sin(2 * pi * (u * x + v * y) + p * (c + 1) + 0.8 * b) for a, u, v, p in WAVES)
        channels.append(127.5 + sum(waves))
    return torch.stack(channels)

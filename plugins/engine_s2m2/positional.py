"""The relative positional term of the coarsest pyramid level, in factorised form.

The term adds sum_j A_ij R[i, j] to what query pixel i reads, where R holds 16 channels that depend on the column
offset alone and 16 that depend on the row offset alone. Attention is therefore summed over key rows (or columns)
first, and the (pixels x pixels x 32) array R never exists.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

CHANNELS = 16
GRID_WIDTH = 5 / 32
SINC_FACTOR = 3.1415  # not pi: the published weights were trained with these four decimals


def axis_table(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Features of every pair of positions on one axis: (length, length, 16), indexed [query, key].

    Kept for each length, as every call of the network with the same image size needs the same table. The zero offset
    reads row length - 1 of the offset table, one before its symmetric centre: the published weights rely on that.
    """
    if torch.compiler.is_compiling():
        return _axis_table(length, device, dtype)  # compilers pass by the cache, with a warning
    return _kept_table(length, device, dtype)


@lru_cache(maxsize=64)
def _kept_table(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    # Without this a table made during inference could not be used in training later.
    with torch.inference_mode(False), torch.no_grad():
        return _axis_table(length, device, dtype)


def _axis_table(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    positions = torch.linspace(-3, 3, 2 * length + 1, dtype=torch.float64).tanh()
    grid = torch.linspace(-1, 1, CHANNELS, dtype=torch.float64)
    angle = SINC_FACTOR * (grid - positions[:, None]) / GRID_WIDTH
    near_zero = angle.abs() < SINC_FACTOR * 1e-6
    sinc = torch.where(near_zero, 1.0, angle.sin() / angle.masked_fill(near_zero, 1.0))
    sinc = sinc / sinc.norm(dim=1, keepdim=True).clamp(min=1e-12)
    index = torch.arange(length)
    offsets = index[:, None] - index[None, :] + length - 1
    return sinc[offsets].to(device=device, dtype=dtype)


def attended_positions(attention: Tensor, rows: int, columns: int) -> Tensor:
    """What the positional term adds to every query: sum_j A_ij R[i, j], shape (B, heads, rows * columns, 32).

    attention: (B, heads, N, N) with N = rows * columns in row-major order, rows summing to 1.
    """
    batch, heads = attention.shape[:2]
    grid = attention.view(batch, heads, rows, columns, rows, columns)
    x_table = axis_table(columns, attention.device, attention.dtype)
    y_table = axis_table(rows, attention.device, attention.dtype)
    along_x = torch.einsum("bhyxk,xkc->bhyxc", grid.sum(4), x_table)
    along_y = torch.einsum("bhyxk,ykc->bhyxc", grid.sum(5), y_table)
    return 0.5 * torch.cat((along_x, along_y), -1).flatten(2, 3)

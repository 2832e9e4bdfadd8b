"""PFM, the portable float map.

Own code, because the libraries that read it multiply by the header's scale, of which only the sign has a meaning: the
files of Middlebury 2014 say -0.003922 and hold pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_pfm(path: Path) -> NDArray[np.float32]:
    """(H, W), or (H, W, 3) of a colour file; the first row is the top one. ValueError for a file that is no PFM."""
    with path.open("rb") as file:
        kind, size, scale = (file.readline(64) for _ in range(3))
        body = file.read()
    channels = {b"Pf": 1, b"PF": 3}.get(kind.strip())
    if channels is None:
        raise ValueError("it does not begin with 'Pf' or 'PF' as a PFM does")
    width, height = (int(part) for part in size.split())
    order = float(scale)
    if min(width, height) < 1 or order == 0 or not np.isfinite(order):
        raise ValueError(f"its header says {width} x {height}, scale {order}")
    if len(body) != 4 * width * height * channels:
        raise ValueError(f"its header says {4 * width * height * channels} bytes of numbers, and it has {len(body)}")
    rows = np.frombuffer(body, "<f4" if order < 0 else ">f4").reshape(height, width, channels)
    return np.ascontiguousarray(rows[::-1].squeeze(2) if channels == 1 else rows[::-1], dtype=np.float32)


def write_pfm(path: Path, values: NDArray[Any]) -> None:
    """Write (H, W) or (H, W, 3), little endian."""
    height, width = values.shape[:2]
    header = f"{'Pf' if values.ndim == 2 else 'PF'}\n{width} {height}\n-1\n"
    path.write_bytes(header.encode() + np.ascontiguousarray(values[::-1], dtype="<f4").tobytes())

"""The histogram of signed residuals with the bound marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import WorldError
from engine.gates.residuals import ImageResiduals

Floats = NDArray[np.float64]

BINS_PER_BOUND = 20  # the bound falls on an edge, so that no bar is half within reach
INSIDE, OUTSIDE = "#0072B2", "#E69F00"  # Okabe and Ito's blue and orange, told apart with any colour vision


@dataclass(frozen=True)
class Histogram:
    """How residuals are distributed, every image weighing the same.

    edges: (n + 1,) in the target's units, even about 0; the bound is one of them. share: (n,) of all residuals, 0 to 1.
    beyond: share that lies outside the edges. lost: share above the bound.
    """

    edges: Floats
    share: Floats
    beyond: float
    lost: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the digits that a picture needs."""
        return {
            "edges": [float(f"{edge:.6g}") for edge in self.edges],
            "share": [float(f"{share:.4g}") for share in self.share],
            "beyond": self.beyond,
            "lost": self.lost,
        }


def histogram(images: Sequence[ImageResiduals], bound: float) -> Histogram:
    """The distribution of the finite residuals of `images`; `bound` > 0 in the target's units."""
    signed = [image.signed[np.isfinite(image.signed)].astype(np.float64) for image in images]
    values = np.concatenate([kept for kept in signed if kept.size] or [np.zeros(0)])
    weights = np.concatenate([np.full(kept.size, 1 / kept.size) for kept in signed if kept.size] or [np.zeros(0)])
    total = max(float(weights.sum()), 1e-300)
    width = bound / BINS_PER_BOUND
    tail = float(np.quantile(np.abs(values), 0.99)) if values.size else 0.0
    half = int(np.ceil(np.clip(tail, 1.6 * bound, 4 * bound) / width))
    edges: Floats = width * np.arange(-half, half + 1, dtype=np.float64)
    share = np.histogram(values, edges, weights=weights)[0] / total
    beyond = float(weights[np.abs(values) > edges[-1]].sum()) / total
    lost = float(weights[np.abs(values) > bound].sum()) / total
    return Histogram(edges, share, beyond, lost)


def save_histogram(images: Sequence[ImageResiduals], bound: float, path: Path, unit: str = "") -> None:
    """Write a PNG of the residuals' distribution, every image weighing the same; `bound` in the target's units.

    WorldError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise WorldError('pictures need matplotlib: pip install "experiment-engine[plots]"') from missing

    drawn = histogram(images, bound)
    edges, share, beyond, lost = drawn.edges, drawn.share, drawn.beyond, drawn.lost
    width = edges[1] - edges[0]
    centres = (edges[:-1] + edges[1:]) / 2
    outside = np.abs(centres) > bound

    figure = Figure(figsize=(7.2, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)  # a canvas of its own: neither pyplot nor the process-wide backend is touched
    axes = figure.subplots()
    axes.bar(centres[~outside], 100 * share[~outside], width, color=INSIDE, label="within the bound")
    axes.bar(
        centres[outside],
        100 * share[outside],
        width,
        color=OUTSIDE,
        hatch="///",
        label=f"out of reach, {100 * lost:.1f} %",
    )
    for side in (-bound, bound):
        axes.axvline(side, color="black", linestyle="--", linewidth=1.2)
    suffix = f" {unit}" if unit else ""
    axes.plot([], [], color="black", linestyle="--", linewidth=1.2, label=f"bound ±{bound:g}{suffix}")
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_xlim(edges[0], edges[-1])
    label = f"residual, target − base [{unit}]" if unit else "residual, target − base"
    axes.set_xlabel(label + (f"; {100 * beyond:.2g} % lie beyond this axis" if beyond > 0 else ""))
    axes.set_ylabel("pixels [%]")
    axes.set_title(f"Residuals of the base on {len(images)} held-out images", fontsize=11, pad=26)
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png")

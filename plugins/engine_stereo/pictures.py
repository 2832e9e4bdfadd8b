"""Disparity and its error as pictures that a colour-blind reader can tell apart.

Arrays are numpy, (H, W) or (3, H, W) as in a sample; pictures are (H, W, 3) uint8. Needs matplotlib.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import WorldError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]
Map = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

_UNKNOWN = 255  # white; neither colour map contains it
_TELLING = 0.1  # degree of polarisation from which sensors tell the angle to a few degrees

# px; each doubles the one before, as an error matters by its factor. 3 px, the KITTI threshold, lies inside one class.
ERROR_STEPS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


_KITTI_STEPS = tuple(2.0**power for power in range(-4, 5))  # of the threshold of D1
_KITTI_COLOURS = np.array(
    [
        (49, 54, 149),
        (69, 117, 180),
        (116, 173, 209),
        (171, 217, 233),
        (224, 243, 248),
        (254, 224, 144),
        (253, 174, 97),
        (244, 109, 67),
        (215, 48, 39),
        (165, 0, 38),
    ],
    np.uint8,
)


def disparity_picture(disparity: Map, valid: Mask, low: float, high: float) -> Picture:
    """Disparity (H, W) px from dark (`low`, far) to bright (`high`, near), even to the eye; white where not `valid`.

    Give the truth's range for both truth and estimate, or they cannot be compared.
    """
    share = (np.nan_to_num(disparity, posinf=high, neginf=low) - low) / max(high - low, 1e-6)
    return _painted("viridis", np.clip(share, 0.0, 1.0), valid & np.isfinite(disparity))


def error_picture(error: Map, valid: Mask) -> Picture:
    """Absolute error (H, W) px in the classes of `ERROR_STEPS`, from dark blue (right) to yellow (16 px and more).

    Pixels that are valid but have no finite estimate are as wrong as can be: yellow. White where not `valid`.
    """
    size = np.where(np.isfinite(error), np.abs(error), np.inf)
    return _painted("cividis", np.digitize(size, ERROR_STEPS) / len(ERROR_STEPS), valid)


def gauge_picture(share: Map, known: Mask) -> Picture:
    """A quantity (H, W) from 0, black, to 1 and more, pale yellow; white where not `known`."""
    return _painted("inferno", np.clip(np.nan_to_num(share), 0.0, 1.0), known)


def signed_picture(value: Map, most: float, known: Mask) -> Picture:
    """A quantity (H, W) from -`most`, blue, over 0, white, to `most`, red; white where not `known`."""
    share = 0.5 + 0.5 * np.nan_to_num(value) / max(most, 1e-6)
    return _painted("RdBu_r", np.clip(share, 0.0, 1.0), known)


def aolp_picture(q: Map, u: Map) -> Picture:
    """The angle of polarisation (H, W) in a circle of colours, as 0 and 180 degrees are one.

    Grey, which the circle lacks, as far as it is weak: the angle of next to no polarisation is noise.
    """
    size = np.hypot(q, u)
    colours = _painted("twilight_shifted", np.arctan2(u, q) / (2 * np.pi) % 1.0, np.ones_like(size, dtype=np.bool_))
    strength = np.clip(size / _TELLING, 0.0, 1.0)[..., None]
    return np.rint(128 + (colours.astype(np.float32) - 128) * strength).astype(np.uint8)


def disparity_scale(low: float, high: float) -> list[tuple[str, str]]:
    """The colours of `disparity_picture` with texts, from `low` to `high` px."""
    return _scale("viridis", [f"{low:.1f} px", f"{high:.1f} px"])


def error_scale() -> list[tuple[str, str]]:
    """The classes of `error_picture`, each with its lowest error, px."""
    texts = ["0", *(f"{step:g}" for step in ERROR_STEPS[:-1]), f"{ERROR_STEPS[-1]:g}+"]
    return _scale("cividis", texts, len(texts))


def gauge_scale(most: str) -> list[tuple[str, str]]:
    """The colours of `gauge_picture`, from 0 to the text for 1."""
    return _scale("inferno", ["0", most])


def angle_scale() -> list[tuple[str, str]]:
    """The colours of `aolp_picture` where the angle is well known, degrees."""
    return _scale("twilight_shifted", ["0°", "90°", "180°"])


def signed_scale(limit: float) -> list[tuple[str, str]]:
    """The colours of `signed_picture`, px."""
    return _scale("RdBu_r", [f"−{limit:g} px", "0", f"+{limit:g} px"])


def _scale(colours: str, texts: list[str], cells: int = 13) -> list[tuple[str, str]]:
    """Cells of a colour map from one end to the other, with the texts evenly over them."""
    shares = np.linspace(0.0, 1.0, cells)
    painted = _painted(colours, shares[None], np.ones((1, cells), np.bool_))[0]
    places = {round(place * (cells - 1) / (len(texts) - 1)): text for place, text in enumerate(texts)}
    return [(places.get(cell, ""), "#" + bytes(painted[cell]).hex()) for cell in range(cells)]


def kitti_error_picture(error: Map, truth: Map, valid: Mask) -> Picture:
    """Absolute error (H, W) px in the ten colours of KITTI's development kit: blue is right, red counts as D1.

    A class is a factor of 2 of min(error / 3 px, error / 5 % of the truth), and D1 begins between pale blue and yellow.
    The colours are ColorBrewer's RdYlBu, made for colour-blind readers too. Black where not `valid`.
    """
    size = np.where(np.isfinite(error), np.abs(error), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.fmin(size / 3, size / (0.05 * np.abs(truth)))
    picture = _KITTI_COLOURS[np.digitize(parts, _KITTI_STEPS)]
    picture[~valid] = 0
    return picture


def panel(left: Map, truth: Map, estimate: Map, valid: Mask, title: str = "") -> Figure:
    """A figure of the left image (3, H, W) 0..255, true and estimated disparity (H, W) px, and the error.

    The error's title has the mean and the share above 3 px over `valid`. Raises WorldError without matplotlib.
    """
    _needs_matplotlib()
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, Normalize
    from matplotlib.figure import Figure

    known = truth[valid]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    error = np.abs(estimate - truth)
    judged = np.where(np.isfinite(error), error, np.inf)[valid]
    verdict = f"error, mean {judged.mean():.2f} px, {np.mean(judged > 3):.1%} above 3 px" if judged.size else "error"

    height, width = truth.shape
    # Not through pyplot: it keeps every figure alive until it is closed, and picks a display.
    figure = Figure(figsize=(10, 10 * height / width + 0.8), layout="constrained")
    figure.suptitle(title)
    pictures = {
        "left": left.transpose(1, 2, 0).clip(0, 255).astype(np.uint8),
        "true disparity": disparity_picture(truth, valid, low, high),
        "estimate": disparity_picture(estimate, np.ones_like(valid), low, high),
        verdict: error_picture(error, valid),
    }
    axes = figure.subplots(2, 2)
    for place, (name, picture) in zip(axes.flat, pictures.items(), strict=True):
        place.imshow(picture)
        place.set_title(name)
        place.set_axis_off()

    scale = ScalarMappable(Normalize(low, high), "viridis")
    figure.colorbar(scale, ax=axes[0, 1], label="px")
    classes = ScalarMappable(BoundaryNorm([0.0, *ERROR_STEPS], 256, extend="max"), "cividis")
    figure.colorbar(classes, ax=axes[1, 1], label="px")
    return figure


def _painted(colours: str, share: Map, known: Mask) -> Picture:
    _needs_matplotlib()
    from matplotlib import colormaps

    painted: Picture = np.rint(colormaps[colours](share)[..., :3] * 255).astype(np.uint8)
    painted[~known] = _UNKNOWN
    return painted


def _needs_matplotlib() -> None:
    if find_spec("matplotlib") is None:
        raise WorldError('pictures need matplotlib: pip install "experiment-engine[stereo]"')

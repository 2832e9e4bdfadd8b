"""A picture of a few scenes for human eyes: `python -m engine_scenes.contact_sheet OUT.png [COUNT] [opaque]`."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from engine_scenes.dataset import PolarizedScenes
from engine_scenes.options import SceneOptions

COLUMNS = ("left", "right", "disparity", "DoLP", "AoLP", "transparent (red), occluded (blue)")


def contact_sheet(dataset: PolarizedScenes, count: int, path: Path) -> None:
    """Save one row a scene: both views, first-surface disparity (px), degree and angle of polarisation, masks.

    The hue of AoLP is the angle over 180 degrees, its brightness the degree of polarisation up to 0.3.
    """
    figure, axes = plt.subplots(count, len(COLUMNS), figsize=(3 * len(COLUMNS), 2.45 * count), squeeze=False)
    for row, index in zip(axes, range(count), strict=True):
        sample = dataset.sample(index, None)
        left, right = (sample[side].transpose(1, 2, 0) / 255 for side in ("left", "right"))
        q, u = sample["polarization_left"]
        dolp, angle = np.hypot(q, u), (0.5 * np.arctan2(u, q)) % np.pi / np.pi
        hue = plt.get_cmap("hsv")(angle)[..., :3] * (dolp / 0.3).clip(0, 1)[..., None]
        masks = 0.4 * left.mean(-1, keepdims=True).repeat(3, -1)
        masks[..., 0] += 0.6 * sample["transparent"][0]
        masks[..., 2] += 0.6 * sample["occluded"][0]
        row[0].imshow(left)
        row[1].imshow(right)
        shown = row[2].imshow(sample["disparity"][0], cmap="turbo")
        figure.colorbar(shown, ax=row[2], fraction=0.04)
        shown = row[3].imshow(dolp, cmap="magma", vmin=0, vmax=0.4)
        figure.colorbar(shown, ax=row[3], fraction=0.04)
        row[4].imshow(hue)
        row[5].imshow(masks.clip(0, 1))
        row[0].set_ylabel(sample["id"])
        for axis, title in zip(row, COLUMNS, strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            if index == 0:
                axis.set_title(title)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    """Draw the first scenes of the validation split."""
    path, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8
    options = SceneOptions(split="val", count=count, transparent="opaque" not in sys.argv)
    contact_sheet(PolarizedScenes(options), count, path)


if __name__ == "__main__":
    main()

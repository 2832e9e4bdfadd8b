"""Draw scenes as the page shows them: python docs/examples/thermal/draw.py docs/pictures/thermal.webp [scene ...]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from engine import load_recipe

TITLES = (
    "left image",
    "right image",
    "thermal, left",
    "thermal, right",
    "apart along the truth",
    "apart along the room",
)
COOLEST, WARMEST, APART = -6.0, 6.0, 2.0  # K


def main() -> None:
    """One row a scene."""
    scenes = [int(each) for each in sys.argv[2:]] or [2, 4]
    recipe = load_recipe(Path(__file__).with_name("thermal.toml"))
    dataset = recipe.registry.get("datasets", "thermal").build(recipe.data["val"].options)
    figure = Figure(figsize=(2.1 * len(TITLES), 1.75 * len(scenes) + 0.2), layout="constrained")
    for row, scene in zip(figure.subplots(len(scenes), len(TITLES), squeeze=False), scenes, strict=True):
        sample = dataset.sample(scene, None)
        truth, glass, thermal = (sample[name][0] for name in ("disparity", "transparent", "thermal"))
        # What a matcher that sees through the glass would say: the median of what is not glass in the same row.
        behind = np.array([np.median(line[~mask]) for line, mask in zip(truth, glass, strict=True)])
        columns = np.arange(truth.shape[1])
        apart = []
        for disparity in (truth, np.where(glass, behind[:, None], truth)):
            rows = zip(columns - disparity, sample["thermal_other"][0], strict=True)
            apart.append(thermal - np.stack([np.interp(place, columns, line) for place, line in rows]))
        pictures = [sample[side].transpose(1, 2, 0).clip(0, 255).astype(np.uint8) for side in ("left", "right")]
        pictures += [thermal, sample["thermal_other"][0], *apart]
        for number, (axis, picture, title) in enumerate(zip(row, pictures, TITLES, strict=True)):
            low, high = (COOLEST, WARMEST) if number < 4 else (-APART, APART)
            axis.imshow(picture, vmin=low, vmax=high, cmap="inferno" if number < 4 else "PuOr")
            axis.set_axis_off()
            if scene == scenes[0]:
                axis.set_title(title, fontsize=8)
    figure.savefig(Path(sys.argv[1]), dpi=80, pil_kwargs={"quality": 80})


if __name__ == "__main__":
    main()

"""Draw the pictures of README from a finished run: python docs/make_pictures.py runs/s2m2_pol/RUN [scene ...]."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from engine_scenes.contact_sheet import contact_sheet
from engine_stereo.pictures import disparity_picture, error_picture
from matplotlib.figure import Figure

from engine.recipe import load_recipe
from engine.stages.session import Session

PICTURES = Path(__file__).parent / "pictures"
STAGES = {"before A": None, "after A": "stage-A", "after C": "stage-C"}


def predicted(session: Session, weights: Path | None, scenes: list[int]) -> list[tuple[Any, Any]]:
    """(disparity, correction) of each scene, (H, W) px; the correction is None where there is no injection yet."""
    pairs = session.predictions(session.system(weights))
    found = []
    for _, prediction in pairs:
        for i in range(prediction.value.shape[0]):
            found.append((prediction.value[i, 0].cpu().numpy(), prediction.correction[i, 0].cpu().numpy()))
        if len(found) > max(scenes):
            break
    return [found[scene] for scene in scenes]


def result(run: Path, scenes: list[int]) -> None:
    """One row a scene: what the camera sees, the truth, the error before A, after A and after C, and the correction."""
    recipe = load_recipe(run / "recipe.json")
    session = Session(recipe, recipe.registry, lambda event: None)
    dataset = session.dataset("val")
    answers = {
        name: predicted(session, run / stage / "weights.safetensors" if stage else None, scenes)
        for name, stage in STAGES.items()
    }
    titles = [
        "left image",
        "degree of polarisation",
        "true disparity",
        *(f"error {name}" for name in STAGES),
        "correction",
    ]
    bound = recipe.injection.options.max_correction
    figure = Figure(figsize=(2.4 * len(titles), 2.1 * len(scenes)), layout="constrained")
    axes = figure.subplots(len(scenes), len(titles), squeeze=False)
    for row, (place, scene) in enumerate(zip(axes, scenes, strict=True)):
        sample = dataset.sample(scene, None)
        truth, valid = sample["disparity"][0], sample["valid"][0]
        glass = sample["transparent"][0]
        pictures = [
            sample["left"].transpose(1, 2, 0).clip(0, 255).astype(np.uint8),
            np.hypot(*sample["polarization_left"]),
            disparity_picture(truth, valid, truth.min(), truth.max()),
            *(error_picture(np.abs(answers[name][row][0] - truth), valid) for name in STAGES),
            answers["after C"][row][1],
        ]
        for axis, picture, title in zip(place, pictures, titles, strict=True):
            range_ = (
                {"vmin": -bound, "vmax": bound, "cmap": "PuOr"} if title == "correction" else {"vmin": 0, "vmax": 0.5}
            )
            axis.imshow(picture, **range_)
            axis.set_axis_off()
            if title.startswith("error"):
                error = np.abs(answers[title.removeprefix("error ")][row][0] - truth)[glass & valid]
                title = f"{title}\nEPE on glass {error.mean():.2f} px"
            elif title == "correction":
                title = f"{title}\n±{bound:g} px"
            axis.set_title(title if row == 0 or "\n" in title else "", fontsize=8)
    figure.savefig(PICTURES / "result.png", dpi=110)


def main() -> None:
    """The contact sheet of the scenes and the picture of the result."""
    run, scenes = Path(sys.argv[1]), [int(each) for each in sys.argv[2:]] or [0, 1, 2]
    PICTURES.mkdir(exist_ok=True)
    recipe = load_recipe(run / "recipe.json")
    dataset = recipe.registry.get("datasets", "polarized_scenes").build(recipe.data["val"].options)
    contact_sheet(dataset, 5, PICTURES / "scenes.png")
    result(run, scenes)


if __name__ == "__main__":
    main()

"""The benchmarks of checkouts measure what they say, on the stand-in."""

from __future__ import annotations

import argparse
from pathlib import Path

from conftest import Imported

CHECKOUT = Path(__file__).parents[1] / "engine_checkouts" / "stand_ins" / "FoundationStereo"
SMALL = [
    f"model.checkout={CHECKOUT}",
    "stage.train.steps=4",
    "train.evaluate_every=0",
    *(f"data.{split}.count=2" for split in ("train", "val")),
]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_losses_and_their_averages_are_measured_by_the_small_recipe(imported: Imported, tmp_path: Path) -> None:
    bench = imported("checkouts", "losses", "average")
    head, _, first, second = bench.losses.measure(
        bench.losses.RECIPE, tmp_path / "runs", ["the paper's", "equal weights"], [0], SMALL
    )
    assert cells(head)[3] == "after, each seed"
    assert cells(first)[2] == cells(second)[2], "both begin with the same weights"
    assert cells(first)[3] != cells(second)[3]
    _, _, raw, average = bench.average.measure(bench.average.RECIPE, tmp_path / "average", 1, 3, SMALL)
    assert [len(cells(row)[1].split(",")) for row in (raw, average)] == [3, 3]
    assert cells(raw)[1] != cells(average)[1]


def test_recomputed_activations_are_fewer_and_a_soak_is_counted(imported: Imported) -> None:
    memory = imported("checkouts", "memory").memory
    sizes = {"preset": "foundation_stereo", "vit_size": "vits", "max_disp": 64, "height": 64, "width": 96, "iters": 3}
    found = [
        memory.one(
            argparse.Namespace(
                checkout=CHECKOUT, **sizes, steps=1, soak=soak, threads=1, precision="fp32", recompute=recompute
            )
        )
        for recompute, soak in ((False, 2), (True, 0))
    ]
    assert found[1]["kept"] < 0.7 * found[0]["kept"]
    assert [each["soak"] for each in found] == [2, 0]
    assert all(len(each["seconds"]) == 1 and each["peak"] >= 0 for each in found)

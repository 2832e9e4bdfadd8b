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


def test_precisions_are_compared_by_the_same_training_and_a_refusal_is_a_row(
    imported: Imported, tmp_path: Path
) -> None:
    precision = imported("checkouts", "precision").precision
    recipes = Path(__file__).parents[2] / "recipes"
    raft = [f"model.checkout={CHECKOUT.with_name('RAFT-Stereo')}", *SMALL[1:], "model.train_iters=2"]
    rows = precision.measure(recipes / "raft_stereo_tiny.toml", tmp_path / "raft", ["bf16"], raft)
    exact, half, near = (cells(row) for row in rows[2:])
    assert [each[0] for each in (exact, half, near)] == ["fp32", "bf16", "fp32, rate + 0.1 %"]
    assert float(exact[3]) == 0 < float(half[3]) < 50
    rows = precision.measure(recipes / "foundation_stereo_tiny.toml", tmp_path / "foundation", ["bf16"], SMALL)
    assert "ends the process on a CPU" in cells(rows[3])[1]

"""The recipe for the real size on a CPU: S2M2-S in bf16, random weights for its authors', tiny images, no average."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from conftest import Command, only_run
from engine_s2m2.network import build
from engine_s2m2.options import S2M2Options
from safetensors.torch import save_file

RECIPE = Path(__file__).parents[2] / "recipes" / "s2m2_pol_S.toml"

SMALL = [
    *("data.train.height=64", "data.train.width=96", "data.train.crop=[64, 96]", "data.train.count=4"),
    *("data.val.height=64", "data.val.width=96", "data.val.count=2"),
    *("train.batch_size=1", "train.workers=0", "train.ema=0", "stage.B.batch_size=1", "evaluate.batch_size=1"),
    *("stage.A.steps=1", "stage.B.steps=1", "stage.C.steps=1"),
    "stage.B.gate.feasibility.accept=['warn', 'undetermined']",
]


def test_the_recipe_runs_all_its_stages(engine: Command, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "S.safetensors"
    save_file(build(S2M2Options(size="S")).state_dict(), weights)
    changes = [part for change in [f"model.weights={weights}", *SMALL] for part in ("--set", change)]
    done = engine("run", RECIPE, *changes)
    assert done.code == 0, done.out + done.err
    run = only_run(tmp_path, "s2m2_pol_S")
    recipe = json.loads((run / "recipe.json").read_text())
    assert {stage["precision"] for stage in recipe["stage"]} == {"bf16"}
    thresholds = [each["threshold"] for stage in recipe["stage"] for each in stage["losses"] if "threshold" in each]
    assert thresholds == [4.0, 4.0], "A and C are sure of what is wrong by less than 4 px; B trains no confidence"
    assert [row["stage"] for row in json.loads((run / "status.json").read_text())["rows"]][-1] == "C"

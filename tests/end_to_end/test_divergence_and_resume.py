"""What a run promised before it stopped still holds when it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Command, WriteRecipe
from toy_world import STAGE_A, STAGE_B


@pytest.mark.parametrize("policy", [{"policy": "stop"}, {"policy": "skip", "limit": 1}])
def test_a_run_that_diverged_diverges_again_on_resuming(
    engine: Command, toy_recipe: WriteRecipe, policy: dict[str, object]
) -> None:
    train = {"nonfinite": policy, "log_every": 50, "checkpoint_every": 1}
    path = toy_recipe(stage=[{**STAGE_A, "steps": 20}], train=train, data={"train": {"plugin": "toy", "spoil": 1}})
    assert engine("run", path).code == 3

    assert engine("run", path, "--resume").code == 3


def test_a_gate_that_writes_to_a_frozen_tensor_is_found_out(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "meddler.py").write_text(
        "import torch\n"
        "from pydantic import BaseModel\n"
        "from engine.contracts import Verdict\n"
        "from engine.hookspecs import hookimpl\n"
        "class Options(BaseModel):\n"
        "    pass\n"
        "class Meddler:\n"
        "    def __init__(self, options):\n"
        "        pass\n"
        "    def __call__(self, context):\n"
        "        with torch.no_grad():\n"
        "            context.system.base.head.weight += 1\n"
        "        return Verdict('pass', 'all is well')\n"
        "@hookimpl\n"
        "def engine_gates(register):\n"
        "    register('meddler', Options, Meddler)\n"
    )
    path = toy_recipe(stage=[STAGE_A, {**STAGE_B, "gate": [{"check": "meddler", "at": "exit"}]}])
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "meddler.py"'))

    outcome = engine("run", path)

    assert outcome.code == 1
    assert "base.head.weight" in outcome.err


def test_a_stage_that_trained_the_injection_can_be_extended(engine: Command, toy_recipe: WriteRecipe) -> None:
    gate = {
        "check": "threshold",
        "at": "entry",
        "metric": "error",
        "max": 1e-6,
        "on_fail": "extend",
        "extend": {"steps": 4, "times": 1},
    }
    stage_c = {"name": "C", "init": "B", "trainable": ["**"], "steps": 2, "gate": [gate]}
    path = toy_recipe(stage=[STAGE_A, STAGE_B, stage_c])

    outcome = engine("run", path)

    assert outcome.code == 4, outcome.err
    assert "B+1" in outcome.out

"""`engine run --profile`: a trace of a few steps, which changes nothing that a run learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from toy_world import STAGE_A, STAGE_B

STAGES = [{**STAGE_A, "accumulate": 2}, {**STAGE_B, "steps": 7}]
DEMANDING = {"model": {"dropout": 0.3}, "train": {"ema": 0.8, "log_every": 1, "checkpoint_every": 4}}


def only(folder: Path) -> Path:
    (run,) = (folder / "toy").iterdir()
    return run


def test_a_traced_run_learns_the_same_bits(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(stage=STAGES, **DEMANDING)
    traced, plain = tmp_path / "traced", tmp_path / "plain"
    for runs, more in ((traced, ["--profile"]), (plain, [])):
        done = engine("run", path, "--runs", runs, *more)
        assert done.code == 0, done.err
    for stage in "AB":
        with_trace, without = weights_of(only(traced), stage), weights_of(only(plain), stage)
        assert with_trace.keys() == without.keys()
        assert all(torch.equal(with_trace[name], without[name]) for name in without)
    losses = [[(step["stage"], step["loss"]) for step in events_of(only(runs), "step")] for runs in (traced, plain)]
    assert losses[0] == losses[1]
    assert not list(plain.rglob("trace.json"))


def test_every_stage_leaves_a_trace_of_three_steps_and_a_table(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(stage=STAGES), "--profile")
    assert done.code == 0, done.err
    for stage, batches in (("A", 6), ("B", 3)):
        trace = json.loads((only_run(tmp_path) / f"stage-{stage}" / "trace.json").read_text())
        names = [event.get("name", "") for event in trace["traceEvents"] if event.get("cat") == "user_annotation"]
        assert len({name for name in names if name.startswith("ProfilerStep")}) == batches
        assert sum(name.startswith("Optimizer.step") for name in names) == 3
        assert f"stage {stage}: operators of 3 steps" in done.out
        assert f"stage-{stage}/trace.json: open it in" in done.out
    assert "aten::convolution_backward" in done.out
    assert done.err == ""


def test_batches_that_are_drawn_again_leave_no_trace(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    train = {"nonfinite": {"policy": "skip"}, "log_every": 3}
    done = engine("run", toy_recipe(stage=[STAGE_A], train=train, data={"train": {"spoil": 5}}), "--profile")
    assert done.code == 0, done.err
    assert "skipped" in done.out
    assert "stage A: operators of 3 steps" in done.out
    assert "too few steps" not in done.out


@pytest.mark.parametrize("steps", [2, 6])
def test_a_stage_with_too_few_steps_says_so(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, steps: int
) -> None:
    done = engine("run", toy_recipe(stage=[{**STAGE_A, "steps": steps}]), "--profile")
    assert done.code == 0, done.err
    assert "stage A has too few steps for a trace" in done.out
    assert not list(tmp_path.rglob("trace.json"))

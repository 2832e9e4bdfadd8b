"""A run that was stopped goes on exactly: the final weights are those of a run that nobody touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from toy_world import STAGE_A, STAGE_B, STAGE_C, threshold

STOPPER = '''
"""Stops the run by a signal at the step or in the evaluation that the environment names, or slows every step down."""
import os, signal, time
from pydantic import BaseModel
from engine.hookspecs import hookimpl

class Options(BaseModel):
    pass

class Witness:
    """A metric that measures nothing: it is asked in every evaluation."""
    last, calls = "", 0

    def __init__(self, options):
        Witness.calls = 0

    def __call__(self, prediction, batch):
        Witness.calls += 1
        if os.environ.get("STOP_AFTER") == Witness.last and Witness.calls > int(os.environ.get("SKIP", "0")):
            Witness.last = "told"  # a second signal would stop at once
            os.kill(os.getpid(), signal.SIGUSR1)
        return {}

@hookimpl
def engine_metrics(register):
    register("witness", Options, Witness, produces=lambda options: [])

@hookimpl
def engine_stage_started(event):
    Witness.last = f"start {event.name}"

@hookimpl
def engine_step(event):
    Witness.last = f"{event.stage} {event.step}"
    time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
    if os.environ.get("STOP_AT") == f"{event.stage} {event.step}":
        os.kill(os.getpid(), signal.SIGTERM)
'''

# Everything that draws random numbers or keeps state between steps.
DEMANDING: dict[str, Any] = {
    "model": {"dropout": 0.3, "norm": True},
    "train": {
        "batch_size": 2,
        "accumulate": 2,
        "ema": 0.8,
        "log_every": 1,
        "checkpoint_every": 4,
        "evaluate_every": 5,
        "schedule": {"name": "one-cycle", "warmup": 0.3},
    },
    "evaluate": {"metrics": [{"name": "error"}, {"name": "witness"}]},
    "stage": [STAGE_A, {**STAGE_B, "warp": {"gt": 0.5, "pred": 0.5}}, STAGE_C],
}


@pytest.fixture
def demanding(toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    (tmp_path / "stopper.py").write_text(STOPPER)
    path = toy_recipe(**DEMANDING)
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "stopper.py"'))
    return path


def run_of(folder: Path) -> Path:
    (run,) = (folder / "toy").iterdir()
    return run


def identical(one: Path, other: Path, stage: str = "C") -> bool:
    first, second = weights_of(one, stage), weights_of(other, stage)
    return first.keys() == second.keys() and all((first[name] == second[name]).all() for name in first)


@pytest.fixture
def untouched(engine: Command, demanding: Path, tmp_path: Path) -> Path:
    """The run that nobody stopped."""
    assert engine("run", demanding, "--runs", "untouched").code == 0
    return run_of(tmp_path / "untouched")


@pytest.mark.parametrize("place", ["A 1", "A 6", "B 4", "C 11"])
def test_a_stopped_run_resumes_to_bit_identical_weights(
    engine: Command, demanding: Path, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("STOP_AT", place)
    stopped = engine("run", demanding)
    assert stopped.code == 5, stopped.err
    stage, step = place.split()
    assert f"stopped by SIGTERM at step {step} of stage {stage}" in stopped.err
    assert f"engine run runs/toy/{only_run(tmp_path).name} --resume" in stopped.err
    assert json.loads((only_run(tmp_path) / "status.json").read_text())["status"] == "interrupted"
    monkeypatch.delenv("STOP_AT")
    done = engine("run", demanding, "--resume")
    assert done.code == 0, done.err
    assert identical(only_run(tmp_path), untouched)
    tail = done.out[done.out.index("held-out data") :].rpartition("done after")[0]
    for row in ("before A", "after A", "after B", "after C"):
        assert row in tail, "the final table tells of the whole run"


def test_a_signal_at_the_very_last_step_stops_before_the_final_measuring(
    engine: Command, demanding: Path, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP_AT", "C 12")
    stopped = engine("run", demanding)
    assert stopped.code == 5
    assert "stopped by SIGTERM while it was measured" in stopped.err
    monkeypatch.delenv("STOP_AT")
    assert engine("run", demanding, "--resume").code == 0
    assert identical(only_run(tmp_path), untouched)
    steps = [event["step"] for event in events_of(only_run(tmp_path), "step") if event["stage"] == "C"]
    assert steps == list(range(1, 13)), "no step is made twice"


@pytest.mark.parametrize("moment", ["start A", "A 5", "C 10", "B 12"])
def test_a_signal_in_an_evaluation_leaves_it_to_the_resumed_run(
    engine: Command, demanding: Path, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setenv("STOP_AFTER", moment)
    stopped = engine("run", demanding)
    assert stopped.code == 5, stopped.err
    assert "stopped by SIGUSR1 while it was measured" in stopped.err
    monkeypatch.delenv("STOP_AFTER")
    assert engine("run", demanding, "--resume").code == 0
    assert identical(only_run(tmp_path), untouched)
    for stage in "ABC":
        places = [run / f"stage-{stage}" / "checkpoints" / "best" for run in (only_run(tmp_path), untouched)]
        assert places[0].read_text() == places[1].read_text(), "the evaluation that was left out is made up for"


def test_a_run_stopped_twice_resumes_as_well(
    engine: Command, demanding: Path, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, more in (("A 7", ()), ("B 3", ("--resume",)), ("B 9", ("--resume",))):
        monkeypatch.setenv("STOP_AT", place)
        assert engine("run", demanding, *more).code == 5
    monkeypatch.delenv("STOP_AT")
    assert engine("run", demanding, "--resume").code == 0
    assert identical(only_run(tmp_path), untouched)


def test_a_terminated_process_exits_with_5_and_a_killed_one_resumes_from_its_checkpoint(
    engine: Command, demanding: Path, untouched: Path, tmp_path: Path
) -> None:
    def stop_after(number: signal.Signals, steps: int, *more: str) -> int:
        running = subprocess.Popen(
            [sys.executable, "-m", "engine", "run", demanding, *more],
            cwd=tmp_path,
            env={**os.environ, "STEP_SECONDS": "0.05", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            logs = list(tmp_path.glob("runs/toy/*/events.jsonl"))
            if logs and logs[0].read_text().count('"event": "step"') >= steps:
                break
            time.sleep(0.02)
        running.send_signal(number)
        return running.wait(timeout=60)

    assert stop_after(signal.SIGTERM, 3) == 5
    assert stop_after(signal.SIGKILL, 14, "--resume") == -signal.SIGKILL
    assert engine("run", only_run(tmp_path), "--resume").code == 0
    assert identical(only_run(tmp_path), untouched)


def test_a_damaged_last_checkpoint_costs_steps_and_not_the_result(
    engine: Command, demanding: Path, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP_AT", "C 7")
    assert engine("run", demanding).code == 5
    monkeypatch.delenv("STOP_AT")
    (only_run(tmp_path) / "stage-C" / "checkpoints" / "step-0000007" / "state.pt").write_bytes(b"")
    assert engine("run", demanding, "--resume").code == 0
    assert identical(only_run(tmp_path), untouched)


def test_a_stage_whose_checkpoints_are_all_lost_starts_over(
    engine: Command, demanding: Path, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP_AT", "B 3")
    assert engine("run", demanding).code == 5
    monkeypatch.delenv("STOP_AT")
    for folder in (only_run(tmp_path) / "stage-B" / "checkpoints").glob("step-*"):
        shutil.rmtree(folder)
    assert engine("run", demanding, "--resume").code == 0
    assert identical(only_run(tmp_path), untouched)


def test_a_checkpoint_that_is_damaged_is_named(
    engine: Command, demanding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP_AT", "A 7")
    assert engine("run", demanding).code == 5
    monkeypatch.delenv("STOP_AT")
    (only_run(tmp_path) / "stage-A" / "checkpoints" / "step-0000007" / "weights.safetensors").write_bytes(b"")
    assert engine("run", demanding, "--resume").code == 0
    (told,) = [event["text"] for event in events_of(only_run(tmp_path), "note") if event["level"] == "warning"]
    assert "step-0000007/weights.safetensors is damaged: it differs from its digest" in told


@pytest.mark.parametrize("part", ["weights.safetensors", "record.json"])
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_finished_stage_that_is_damaged_is_finished_again_from_its_checkpoint(
    engine: Command,
    demanding: Path,
    untouched: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    damage: str,
) -> None:
    monkeypatch.setenv("STOP_AT", "B 7")
    assert engine("run", demanding).code == 5
    monkeypatch.delenv("STOP_AT")
    path = only_run(tmp_path) / "stage-A" / part
    content = path.read_bytes()
    path.unlink()
    if damage == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 128]) + content[-8:])
    assert engine("run", demanding, "--resume").code == 0
    assert identical(only_run(tmp_path), untouched, "A")
    assert identical(only_run(tmp_path), untouched)
    steps = [event["step"] for event in events_of(only_run(tmp_path), "step") if event["stage"] == "A"]
    assert steps == list(range(1, 13)), "nothing was trained again"
    if (part, damage) != ("record.json", "missing"):
        told = " ".join(event["text"] for event in events_of(only_run(tmp_path), "note"))
        assert f"stage-A/{part} is {'damaged' if damage == 'flipped' else 'missing'}" in told


@pytest.mark.parametrize("name", ["entry.json", "frozen.json"])
def test_a_damaged_note_of_a_begun_stage_is_named(
    engine: Command, demanding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("STOP_AT", "B 7")
    assert engine("run", demanding).code == 5
    monkeypatch.delenv("STOP_AT")
    (only_run(tmp_path) / "stage-B" / name).write_bytes(b"{\xff")
    done = engine("run", demanding, "--resume")
    assert done.code == 1
    assert f"stage-B/{name} is damaged" in "".join(done.err.splitlines())


def test_a_report_that_an_interruption_cut_in_two_is_whole(
    engine: Command, demanding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = ("--set", "train.log_every=6", "--set", "stage.A.steps=6")
    assert engine("run", demanding, *rare, "--runs", "untouched").code == 0
    monkeypatch.setenv("STOP_AFTER", "start A")  # no step is told of before the evaluation at step 5
    monkeypatch.setenv("SKIP", "2")
    assert engine("run", demanding, *rare).code == 5
    monkeypatch.delenv("STOP_AFTER")
    assert engine("run", only_run(tmp_path), "--resume").code == 0
    told = [
        [(event["loss"], event["gradient_norm"]) for event in events_of(run, "step") if event["stage"] == "A"]
        for run in (only_run(tmp_path), run_of(tmp_path / "untouched"))
    ]
    assert told[0] == told[1]


def test_a_changed_frozen_tensor_between_stop_and_resume_is_noticed(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stopper.py").write_text(STOPPER)
    path = toy_recipe(train={"log_every": 1})
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "stopper.py"'))
    monkeypatch.setenv("STOP_AT", "B 3")
    assert engine("run", path).code == 5
    monkeypatch.delenv("STOP_AT")
    noted = only_run(tmp_path) / "stage-B" / "frozen.json"
    tensors = json.loads(noted.read_text())
    noted.write_text(json.dumps(tensors | {"base.head.bias": "0" * 64}))
    done = engine("run", path, "--resume")
    assert done.code == 0, done.err
    told = "stage-B/checkpoints/step-0000003: frozen tensors had changed when it was saved: base.head.bias"
    assert told in " ".join(event["text"] for event in events_of(only_run(tmp_path), "note"))
    assert json.loads(noted.read_text()) == tensors, "the stage was made again from its start"


def test_a_refused_run_asks_its_gate_again_on_resuming_without_training_again(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = toy_recipe(stage=[{**STAGE_A, "gate": [threshold(max=0.01)]}])
    assert engine("run", path).code == 4
    steps = len(events_of(only_run(tmp_path), "step"))
    assert engine("run", path, "--resume").code == 4
    assert len(events_of(only_run(tmp_path), "step")) == steps


def test_resuming_with_a_changed_recipe_is_refused_by_the_keys_that_differ_with_the_way_out(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    gates = [threshold(max=0.01), {"check": "feasibility", "at": "entry", "on_fail": "warn"}]
    asked = {**STAGE_B, "gate": gates[1:]}
    assert engine("run", toy_recipe(stage=[{**STAGE_A, "gate": gates[:1]}, asked])).code == 4
    path = toy_recipe(train={"optimizer": {"lr": 0.05}}, stage=[{**STAGE_A, "gate": [threshold(max=0.02)]}, asked])
    lines = path.read_text().splitlines()
    places = [
        (line, lines[line - 1].index(text) + 1)
        for text in ("lr =", "max =")
        for line in [1 + next(number for number, each in enumerate(lines) if text in each)]
    ]
    done = engine("run", path, "--resume", "--set", "seed=3", "--set", "stage.B.ema=0.5")
    run = f"runs/toy/{only_run(tmp_path).name}"
    assert done.code == 2
    assert done.err.splitlines() == [
        f"error the recipe differs from the one that {run} was started with",
        "error --set seed=3: seed was 0, is 3",
        f"error {path}:{places[0][0]}:{places[0][1]}: train.optimizer.lr was 0.02, is 0.05",
        f"error {path}:{places[1][0]}:{places[1][1]}: stage.A.gate.threshold.max was 0.01, is 0.02",
        "error and 1 more",
        f"  `engine run {run} --resume` goes on with that one",
    ], "what a stage inherits from [train] is told once"
    assert engine("run", path, "--resume", "--set", "train.optimizer.lr=0.02", "--set", "stage.A.ema=0.5").err.count(
        "--set stage.A.ema=0.5: stage.A.ema was not set, is 0.5"
    )


def test_stages_in_another_order_are_another_recipe(engine: Command, toy_recipe: WriteRecipe) -> None:
    stages = [{**STAGE_A, "steps": 2, "name": name, "gate": [threshold(max=0.01)]} for name in "AD"]
    assert engine("run", toy_recipe(stage=stages)).code == 4
    done = engine("run", toy_recipe(stage=stages[::-1]), "--resume")
    assert done.code == 2
    assert "the order of its stages, losses, metrics or gates changed" in done.err


def test_a_recipe_of_a_run_in_which_a_digit_changed_is_not_trained(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    assert engine("run", toy_recipe(stage=[{**STAGE_A, "gate": [threshold(max=0.01)]}])).code == 4
    kept = only_run(tmp_path) / "recipe.json"
    kept.write_text(kept.read_text().replace('"lr": 0.02', '"lr": 0.03'))
    done = engine("run", only_run(tmp_path), "--resume")
    assert done.code == 1
    assert "recipe.json is damaged: it differs from the digest in provenance.json" in " ".join(done.err.split())


def test_resuming_without_an_unfinished_run_is_refused(engine: Command, toy_recipe: WriteRecipe) -> None:
    path = toy_recipe(stage=[STAGE_A])
    assert engine("run", path, "--resume").code == 2
    assert engine("run", path).code == 0
    done = engine("run", path, "--resume")
    assert done.code == 2
    assert "no unfinished run of 'toy'" in done.err


def test_the_log_of_a_resumed_run_goes_on_in_the_same_file(
    engine: Command, demanding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP_AT", "A 2")
    assert engine("run", demanding).code == 5
    monkeypatch.delenv("STOP_AT")
    assert engine("run", demanding, "--resume").code == 0
    run = only_run(tmp_path)
    assert [event["resumed"] for event in events_of(run, "run_started")] == [False, True]
    assert [event["status"] for event in events_of(run, "run_finished")] == ["interrupted", "done"]
    assert [event["step"] for event in events_of(run, "step") if event["stage"] == "A"] == list(range(1, 13))
    assert (run / "provenance.json").exists()
    assert (run / "provenance-resumed-1.json").exists()


def test_a_run_that_was_moved_resumes_from_anywhere(
    engine: Command, demanding: Path, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP_AT", "B 3")
    assert engine("run", demanding).code == 5
    monkeypatch.delenv("STOP_AT")
    moved = only_run(tmp_path).rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = engine("run", moved, "--resume")
    assert done.code == 0, done.err
    assert identical(moved, untouched)


def test_damaged_weights_of_a_run_are_not_measured(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    assert engine("run", toy_recipe(stage=[STAGE_A])).code == 0
    run = only_run(tmp_path)
    for path in (
        run / "stage-A" / "weights.safetensors",
        next(run.glob("stage-A/checkpoints/step-*/weights.safetensors")),
    ):
        assert engine("eval", run, "--weights", path.parent).code == 0
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        done = engine("eval", run, "--weights", path.parent)
        assert done.code == 1
        assert "weights.safetensors is damaged: it differs from its digest" in " ".join(done.err.split())


def test_a_run_whose_first_stage_was_finished_again_is_measured_by_its_last(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    assert engine("run", toy_recipe()).code == 0
    run = only_run(tmp_path)
    (run / "stage-A" / "weights.safetensors").write_bytes(b"")
    again = engine("run", run, "--resume")
    assert "stage A done" in again.out
    assert "stage B is finished and taken from the run" in again.out
    assert "weights stage-C/weights.safetensors" in engine("eval", run).out


RANDOM = '''
"""Draws from the global generators: as it is made, as it prepares training data, as it measures."""
import os, random, signal
import numpy as np
import torch
from engine.hookspecs import hookimpl
from toy_plugin import BaseOptions, DataOptions, Options, ToyBase, ToyData

class Base(ToyBase):
    def __init__(self, options):
        super().__init__(options)
        torch.nn.init.constant_(self.head.bias, np.random.rand() + random.random())

class Data(ToyData):
    def prepare(self, progress):
        if self.options.split == "train" and not os.path.exists("prepared"):
            torch.rand(1), np.random.rand(), random.random()
            open("prepared", "w").close()

class Noise:
    calls = 0

    def __init__(self, options):
        Noise.calls = 0

    def __call__(self, prediction, batch):
        Noise.calls += 1
        if os.environ.get("STOP_IN_CALL") == str(Noise.calls):
            os.kill(os.getpid(), signal.SIGTERM)
        size = len(prediction.value)
        return {"noise": (torch.rand(size) + np.random.rand() + random.random(), torch.ones(size))}

@hookimpl
def engine_models(register):
    register("random", BaseOptions, Base, target="target")

@hookimpl
def engine_datasets(register):
    register("random", DataOptions, Data)

@hookimpl
def engine_metrics(register):
    register("noise", Options, Noise, produces=lambda options: ["noise"])
'''


def test_global_generators_are_where_an_untouched_run_has_them(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random_plugin.py").write_text(RANDOM)
    path = toy_recipe(
        model={"plugin": "random", "dropout": 0.3},
        data={"train": {"plugin": "random"}, "val": {"plugin": "random"}},
        train={"log_every": 1, "evaluate_every": 4, "checkpoint_every": 4},
        evaluate={"metrics": [{"name": "error"}, {"name": "noise"}], "batch_size": 2},
        stage=[STAGE_A],
    )
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "random_plugin.py"'))
    assert engine("run", path, "--runs", "untouched").code == 0
    untouched = run_of(tmp_path / "untouched")
    monkeypatch.setenv("STOP_IN_CALL", "8")  # five batches before the first step, five after the fourth
    stopped = engine("run", path)
    assert "while it was measured" in stopped.err
    monkeypatch.delenv("STOP_IN_CALL")
    assert engine("run", path, "--resume").code == 0
    run = only_run(tmp_path)
    assert identical(run, untouched, "A")
    measured = [sorted((each / "stage-A").glob("evaluation-*.json")) for each in (run, untouched)]
    assert len(measured[0]) == 5
    assert [file.read_text() for file in measured[0]] == [file.read_text() for file in measured[1]]

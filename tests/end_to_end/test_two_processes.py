from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from toy_world import STAGE_A

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "engine")


def test_two_processes_share_each_batch_and_learn_what_one_learns(
    process: Command, engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = process("run", toy_recipe(train={"batch_size": 2, "ema": 0.5}), launcher=TWO, ACCELERATE_USE_CPU="true")
    assert done.code == 0, done.err
    run = only_run(tmp_path)
    assert done.out.count("held-out data") == 1, "one process tells, the other is quiet"
    assert len(events_of(run, "run_started")) == 1
    assert engine("run", toy_recipe(train={"batch_size": 4, "ema": 0.5}), "--runs", "alone").code == 0
    (alone,) = (tmp_path / "alone" / "toy").iterdir()
    for stage in "ABC":
        one, two = weights_of(alone, stage), weights_of(run, stage)
        for name in one:
            torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=1e-3)


SLOW = '''
"""Gives the test time to send its signal."""
import os, time
from engine.hookspecs import hookimpl

@hookimpl
def engine_step(event):
    time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
'''


def test_two_processes_that_are_told_to_stop_leave_at_one_step_and_resume_identically(
    process: Command, engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    train = {"batch_size": 2, "ema": 0.5, "log_every": 1}
    path = toy_recipe(model={"dropout": 0.3}, train=train)  # every process drops other numbers
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "slow.py"'))
    cpu = {"ACCELERATE_USE_CPU": "true"}
    assert process("run", path, "--runs", "untouched", launcher=TWO, **cpu).code == 0
    (untouched,) = (tmp_path / "untouched" / "toy").iterdir()

    launched = subprocess.Popen(
        [sys.executable, *TWO, "run", path],
        cwd=tmp_path,
        env={**os.environ, **cpu, "OMP_NUM_THREADS": "1", "STEP_SECONDS": "0.2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        logs = list(tmp_path.glob("runs/toy/*/events.jsonl"))
        if logs and logs[0].read_text().count('"event": "step"') >= 15:
            break
        time.sleep(0.02)
    os.killpg(launched.pid, signal.SIGTERM)  # as a scheduler does: the launcher and both processes get it
    told = launched.communicate(timeout=100)[1]
    run = only_run(tmp_path)
    assert json.loads((run / "status.json").read_text())["status"] == "interrupted", told
    assert 15 <= len(events_of(run, "step")) < 36

    alone = engine("run", run, "--resume")
    assert alone.code == 2
    assert "started with 2 processes and is resumed with 1" in alone.err
    assert "resume it with 2 processes" in alone.err

    assert process("run", run, "--resume", launcher=TWO, **cpu).code == 0
    for stage in "ABC":
        one, other = weights_of(untouched, stage), weights_of(run, stage)
        assert all(torch.equal(one[name], other[name]) for name in one), stage
    steps = [(event["stage"], event["step"]) for event in events_of(run, "step")]
    assert steps == [(stage, step) for stage in "ABC" for step in range(1, 13)]


CONTRARY = '''
"""A figure that falls with every evaluation in the first process, and rises in the others."""
import os
import torch
from engine.contracts import Verdict
from engine.hookspecs import hookimpl
from pydantic import BaseModel

class Options(BaseModel):
    pass

leads = os.environ["RANK"] == "0"

class Contrary:
    def __init__(self, options):
        self.figure = 0.0

    def __call__(self, prediction, batch):
        self.figure += -1.0 if leads else 1.0
        return {"contrary": (torch.full((len(prediction.value),), self.figure), torch.ones(len(prediction.value)))}

def verdict(options):
    return lambda context: Verdict("pass" if leads else "fail", "of the first process")

@hookimpl
def engine_metrics(register):
    register("contrary", Options, Contrary, produces=lambda options: ["contrary"])

@hookimpl
def engine_gates(register):
    register("contrary", Options, verdict)
'''


def test_processes_that_measure_differently_save_and_pass_gates_together(
    process: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "contrary.py").write_text(CONTRARY)
    path = toy_recipe(
        train={"evaluate_every": 2},
        evaluate={"metrics": [{"name": "error"}, {"name": "contrary"}], "best": "contrary"},
        stage=[{**STAGE_A, "gate": [{"check": "contrary", "at": "exit"}]}],
    )
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "contrary.py"'))
    done = process("run", path, launcher=TWO, ACCELERATE_USE_CPU="true")
    assert done.code == 0, done.err
    saved = events_of(only_run(tmp_path), "checkpoint_saved")
    assert [(event["step"], event["best"]) for event in saved] == [(step, True) for step in range(2, 13, 2)]

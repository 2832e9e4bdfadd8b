"""A stop of a whole process group, as a terminal and a scheduler send it, and a data worker that dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe, only_run, weights_of
from forked import Forks
from test_bad_endings import errors, status
from toy_world import STAGE_A

PLUGIN = """
import os, signal, time
from toy_plugin import DataOptions, ToyData

from engine.hookspecs import hookimpl

if "OWN_GROUP" in os.environ:
    os.setpgid(0, 0)


class Mortal(ToyData):
    def sample(self, index, rng):
        if os.environ.get("DIES_AT") == str(index):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().sample(index, rng)


@hookimpl
def engine_datasets(register):
    register("mortal", DataOptions, Mortal)


@hookimpl
def engine_step(event):
    time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
"""


@pytest.fixture
def recipe(toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    (tmp_path / "group.py").write_text(PLUGIN)
    train = {"workers": 2, "accumulate": 2, "batch_size": 2, "ema": 0.8, "log_every": 1, "checkpoint_every": 4}
    path = toy_recipe(
        stage=[STAGE_A], train=train, data={"train": {"plugin": "mortal"}}, model={"dropout": 0.3, "norm": True}
    )
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "group.py"'))
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_stop_of_the_whole_group_costs_nothing(
    engine: Command, forks: Forks, recipe: Path, tmp_path: Path, number: signal.Signals
) -> None:
    assert engine("run", recipe, "--runs", "untouched").code == 0
    running = forks.start("run", recipe, folder=tmp_path, OWN_GROUP="yes", STEP_SECONDS="0.05")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not running.ended():
        logs = list(tmp_path.glob("runs/toy/*/events.jsonl"))
        if logs and logs[0].read_text().count('"event": "step"') >= 2:
            break
        time.sleep(0.02)
    assert os.getpgid(running.pid) == running.pid
    os.killpg(running.pid, number)
    stopped = running.wait()
    assert stopped.code == 5, stopped.err
    assert f"stopped by {number.name}" in stopped.err
    assert engine("run", recipe, "--resume").code == 0
    (untouched,) = (tmp_path / "untouched" / "toy").iterdir()
    one, other = weights_of(only_run(tmp_path), "A"), weights_of(untouched, "A")
    assert all((one[name] == other[name]).all() for name in one)


def test_a_worker_that_is_killed_ends_the_run_with_1_and_it_resumes(
    engine: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine("run", recipe, "--runs", "untouched").code == 0
    monkeypatch.setenv("DIES_AT", "5")
    done = engine("run", recipe)
    assert done.code == 1
    (line,) = errors(done)
    assert "data.train (mortal): one of 2 data workers was killed by SIGKILL" in line
    assert status(tmp_path) == "failed"
    monkeypatch.delenv("DIES_AT")
    assert engine("run", recipe, "--resume").code == 0
    (untouched,) = (tmp_path / "untouched" / "toy").iterdir()
    one, other = weights_of(only_run(tmp_path), "A"), weights_of(untouched, "A")
    assert all((one[name] == other[name]).all() for name in one)

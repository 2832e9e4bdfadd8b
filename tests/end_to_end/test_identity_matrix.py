"""However a run is interrupted, and whatever it draws and reads, resumed it is the untouched run: bit for bit.

A cell is interrupted in two places, by SIGTERM in the one and by SIGKILL in the other, and resumed in a new process
each time. Weights of every stage, figures of every step (also of those that a kill made be made twice) and evaluations
are held against a run without data workers that nobody touched.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import events_of, weights_of
from forked import Forks
from toy_world import PLUGIN, RECIPE, STAGE_A, STAGE_B, STAGE_C, merged, toml

INTERRUPTER = '''
"""Sends the process a signal where INTERRUPT says: "MOMENT STAGE STEP SIGNAL"."""
import os, signal
from engine.hookspecs import hookimpl
from toy_plugin import DataOptions, ToyData

reached = ["", 0]


def interrupt(moment):
    where = os.environ.get("INTERRUPT", "").split()
    if where[:3] == [moment, reached[0], str(reached[1])]:
        os.kill(os.getpid(), getattr(signal, where[3]))


class Held(ToyData):
    def sample(self, index, rng):
        if index == 5:
            interrupt("evaluation")
        return super().sample(index, rng)


@hookimpl
def engine_datasets(register):
    register("held", DataOptions, Held)


@hookimpl
def engine_stage_started(event):
    reached[:] = [event.name, 0]
    interrupt("start")


@hookimpl
def engine_step(event):
    reached[:] = [event.stage, event.step]
    interrupt("step")


@hookimpl
def engine_stage_finished(event):
    interrupt("end")
'''

STEPS = 8
RANDOMNESS = {
    "augmentation+dropout": {"noise": True, "dropout": 0.3},
    "dropout": {"noise": False, "dropout": 0.3},
    "neither": {"noise": False, "dropout": 0.0},
}
# Nine samples make an epoch of two and a quarter steps, so none of these steps is at the end of one.
PLACES = {
    "mid-epoch": ("step A 3", "step B 5"),
    "stage boundary": (f"end A {STEPS}", "start C 0"),
    "during evaluation": ("evaluation A 5", f"evaluation B {STEPS}"),
}
SIGNALS = {0: ("SIGTERM", "SIGKILL"), 2: ("SIGKILL", "SIGTERM")}  # by workers, so that each place sees both orders
EXIT = {"SIGTERM": 5, "SIGKILL": -signal.SIGKILL}


def recipe(folder: Path, randomness: str, workers: int, cached: str) -> Path:
    """Three stages with all that keeps state: an average, accumulated gradients, norms, a schedule, mixed alignment."""
    draws = RANDOMNESS[randomness]
    stages: list[dict[str, Any]] = [
        STAGE_A,
        {**STAGE_B, "warp": {"gt": 0.5, "pred": 0.5}, "cache": cached},
        STAGE_C,
    ]
    changes = {
        "plugins": [str(PLUGIN), "interrupter.py"],
        "model": {"dropout": draws["dropout"], "norm": True},
        "data": {"train": {"count": 9, "noise": draws["noise"]}, "val": {"plugin": "held"}},
        "evaluate": {"batch_size": 4},
        "train": {
            "batch_size": 2,
            "accumulate": 2,
            "ema": 0.8,
            "workers": workers,
            "log_every": 1,
            "checkpoint_every": 2,
            "evaluate_every": 5,
            "schedule": {"name": "one-cycle", "warmup": 0.3},
        },
        "stage": [{**stage, "steps": STEPS} for stage in stages],
    }
    (folder / "interrupter.py").write_text(INTERRUPTER)
    path = folder / "toy.toml"
    path.write_text(toml(merged(RECIPE, changes)))
    return path


def made(folder: Path) -> dict[str, Any]:
    """All that a run results in: tensors and evaluations as bytes, and what each step's events tell."""
    (run,) = (folder / "runs" / "toy").iterdir()
    found: dict[str, Any] = {str(file.relative_to(run)): file.read_bytes() for file in run.glob("*/evaluation-*.json")}
    for stage in "ABC":
        for name, tensor in weights_of(run, stage).items():
            found[f"tensor {stage} {name}"] = (tensor.dtype, tensor.shape, tensor.numpy().tobytes())
    for event in events_of(run, "step"):
        figures = (event["loss"], event["gradient_norm"], event["learning_rate"])
        found.setdefault(f"step {event['stage']} {event['step']}", set()).add(figures)
    return found


@pytest.fixture(scope="module")
def untouched(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], dict[str, Any]]:
    """untouched(randomness, cached): what a run makes that nobody interrupts."""

    @cache
    def make(randomness: str, cached: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("untouched")
        done = forks.run(
            "run", recipe(folder, randomness, 0, cached), folder=folder, ENGINE_CACHE=str(folder / "cache")
        )
        assert done.code == 0, done.err
        return made(folder)

    return make


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("workers", SIGNALS)
@pytest.mark.parametrize(
    ("randomness", "cached"),
    [(each, "off") for each in RANDOMNESS] + [("dropout", "on"), ("neither", "on")],
)
def test_an_interrupted_run_is_the_untouched_one(
    forks: Forks,
    untouched: Callable[[str, str], dict[str, Any]],
    tmp_path: Path,
    randomness: str,
    cached: str,
    workers: int,
    place: str,
) -> None:
    words: list[object] = ["run", recipe(tmp_path, randomness, workers, cached)]
    environment = {"ENGINE_CACHE": str(tmp_path / "cache")}  # its own: the run that is interrupted fills it
    for where, name in zip(PLACES[place], SIGNALS[workers], strict=True):
        stopped = forks.run(*words, folder=tmp_path, INTERRUPT=f"{where} {name}", **environment)
        assert stopped.code == EXIT[name], stopped.err
        words = [*words[:2], "--resume"]
    done = forks.run(*words, folder=tmp_path, **environment)
    assert done.code == 0, done.err
    expected, found = untouched(randomness, cached), made(tmp_path)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert {f"step {stage} {step}" for stage in "ABC" for step in range(1, STEPS + 1)} <= expected.keys()


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_and_the_cache_are_refused_together(forks: Forks, tmp_path: Path, workers: int) -> None:
    path = recipe(tmp_path, "augmentation+dropout", workers, "on")
    refused = forks.run("run", path, folder=tmp_path, ENGINE_CACHE=str(tmp_path / "cache"))
    assert refused.code == 2
    assert "draws random numbers" in refused.err
    assert not (tmp_path / "runs").exists()

"""A run on data of which some cannot be read: it stops and says which, or goes on and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from test_bad_endings import errors, status
from toy_world import STAGE_A, STAGE_B

PLUGIN = """
from toy_plugin import DataOptions, ToyData

from engine.errors import DamagedDataError
from engine.hookspecs import hookimpl


class Options(DataOptions):
    bad: list[int]


class Damaged(ToyData):
    def sample(self, index, rng):
        if index in self.options.bad:
            raise DamagedDataError("image", f"{self.options.split}-{index}", "it is cut short")
        return super().sample(index, rng)


@hookimpl
def engine_datasets(register):
    register("damaged", Options, Damaged)
"""


@pytest.fixture
def recipe(toy_recipe: WriteRecipe, tmp_path: Path) -> Any:
    (tmp_path / "damaged.py").write_text(PLUGIN)

    def write(of_train: dict[str, Any], of_val: dict[str, Any] | None = None, **changes: Any) -> Path:
        val = {"plugin": "damaged", "bad": [], **(of_val or {})}
        data = {"train": {"plugin": "damaged", **of_train}, "val": val}
        path = toy_recipe(data=data, **changes)
        path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "damaged.py"'))
        return path

    return write


def notes(run: Path) -> list[str]:
    return [event["text"] for event in events_of(run, "note") if event["level"] == "warning"]


TRAIN = "data.train (damaged)"
VAL = "data.val (damaged)"


def test_a_damaged_sample_stops_the_run_with_1_and_is_named(engine: Command, recipe: Any, tmp_path: Path) -> None:
    done = engine("run", recipe({"bad": [3]}, stage=[STAGE_A]))
    assert done.code == 1
    assert errors(done) == [f"error {TRAIN}: array 'image' of sample train-3 is damaged: it is cut short"]
    assert status(tmp_path) == "failed"


def test_the_cache_is_measured_on_what_reads(engine: Command, recipe: Any, tmp_path: Path) -> None:
    most = {"bad": list(range(20)), "damaged": "skip", "noise": False}
    assert engine("run", recipe(most, stage=[STAGE_A, {**STAGE_B, "cache": "auto"}])).code == 0
    (choice,) = [each for each in events_of(only_run(tmp_path), "note") if 'cache = "auto"' in each["text"]]
    assert choice["details"]["recompute"] > 0


def test_skipped_samples_are_told_once_a_stage_and_counted(engine: Command, recipe: Any, tmp_path: Path) -> None:
    skip = {"bad": [3, 4], "damaged": "skip"}
    path = recipe(skip, {"bad": [7], "damaged": "skip"}, stage=[STAGE_A, STAGE_B])
    assert engine("run", path).code == 0
    run = only_run(tmp_path)
    once = [
        f"{TRAIN}: array 'image' of sample train-{i} is damaged: it is cut short; it is passed over" for i in (3, 4)
    ]
    once += [f"{VAL}: array 'image' of sample val-7 is damaged: it is cut short; it is passed over"]
    counts = [
        f"{TRAIN}: 2 damaged samples were passed over: train-3, train-4",
        f"{VAL}: 1 damaged samples were passed over: val-7",
    ]
    assert sorted(notes(run)) == sorted(2 * (once + counts)), "two stages"
    assert {event["evaluation"]["samples"] for event in events_of(run, "evaluated")} == {9}
    measured = engine("eval", run)
    assert measured.code == 0
    assert counts[1] in measured.out
    assert "9 samples" in measured.out


def test_workers_change_nothing_about_skipping(engine: Command, recipe: Any, tmp_path: Path) -> None:
    skip = {"bad": [3, 4], "damaged": "skip"}
    for workers in (0, 2):
        path = recipe(skip, stage=[STAGE_A], train={"workers": workers, "accumulate": 2, "checkpoint_every": 5})
        assert engine("run", path, "--runs", f"runs{workers}").code == 0
    (alone,), (apart,) = ((tmp_path / f"runs{workers}" / "toy").iterdir() for workers in (0, 2))
    one, other = weights_of(alone, "A"), weights_of(apart, "A")
    assert all((one[name] == other[name]).all() for name in one)


def test_data_that_are_all_damaged_end_the_run_with_1(engine: Command, recipe: Any) -> None:
    done = engine("run", recipe({"count": 4, "bad": [0, 1, 2, 3], "damaged": "skip"}, stage=[STAGE_A]))
    assert done.code == 1
    assert f"error {TRAIN}: all of its 4 samples are damaged" in errors(done)[0]


def test_an_unknown_policy_is_told_with_its_place(engine: Command, recipe: Any) -> None:
    done = engine("check", recipe({"bad": [], "damaged": "skp"}))
    assert done.code == 2
    assert "'damaged' is the text 'skp'; expected 'stop' or 'skip'. Did you mean 'skip' or 'stop'?" in done.err

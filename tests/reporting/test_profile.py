"""`engine run --profile-plugins`: what every plugin takes, measured from outside without changing the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command, WriteRecipe, only_run, weights_of
from toy_plugin import DataOptions, ToyData
from toy_world import STAGE_A, STAGE_B, threshold

from engine.accounting import Account
from engine.reporting.profile import WatchedDataset

STAGES = [{**STAGE_A, "gate": [threshold(max=9.0)]}, {**STAGE_B, "steps": 6}]
WITH_AVERAGE = {"ema": 0.9, "evaluate_every": 6}

# Pages of the system's own: the heap of this process may still hold free memory of other tests, and would not grow.
LEAK = """
import mmap
from engine.hookspecs import hookimpl

KEPT, FULL = [], b"x" * 8_000_000

@hookimpl
def engine_step(event):
    KEPT.append(mmap.mmap(-1, 8_000_000))
    KEPT[-1].write(FULL)
"""


def profile_of(folder: Path) -> dict[str, Any]:
    profile: dict[str, Any] = json.loads((only_run(folder) / "profile.json").read_text())
    return profile


def calls(profile: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(Path(row["plugin"]).name, row["did"]): row["calls"] for row in profile["plugins"]}


def test_every_part_is_accounted_with_its_calls(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    done = engine("run", toy_recipe(stage=STAGES, train=WITH_AVERAGE), "--profile-plugins")
    assert done.code == 0, done.err
    profile = profile_of(tmp_path)
    found = calls(profile)
    evaluations = found["event log", "engine_evaluated"]  # of 10 samples, in batches of 8 and 2
    assert found["toy_plugin.py", "loss square"] == 12 + 6 + 2, "steps, and a batch to prove gradients on"
    noted = 2 * 2  # the first sample of both sets, by which a later run tells whether a finished stage is still its own
    asked = 2  # the first sample of both sets before the run, whether it brings the injection's signal
    drawn = 4 * 3  # for the report, before the first stage and after each
    trained = 4 * (12 + 6 + 2)
    assert found["toy_plugin.py", "data set toy, sample"] == trained + 10 * evaluations + noted + asked + drawn
    assert found["toy_plugin.py", "picture toy"] == drawn
    assert found["toy_plugin.py", "metric error"] == 2 * (evaluations + 4), "four of them told of the base alone too"
    assert found["toy_plugin.py", "model toy, forward"] >= 12 + 1 + 2 * (evaluations - 4)
    assert found["toy_plugin.py", "injection toy, forward"] >= 6 + 1 + 2 * 4
    assert found["engine", "gate threshold"] == 1
    assert found["console", "engine_run_finished"] == 1, "the profile is written when all others have heard of the end"
    assert found["console", "engine_step"] == found["event log", "engine_step"] == 3 + 2


def test_the_shares_add_up_to_the_run(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    assert engine("run", toy_recipe(stage=STAGES), "--profile-plugins").code == 0
    profile = profile_of(tmp_path)
    assert sum(row["seconds"] for row in profile["plugins"]) < profile["seconds"]
    assert profile["engine"]["share"] + sum(row["share"] for row in profile["plugins"]) == pytest.approx(1, abs=0.01)
    megabytes = profile["engine"]["megabytes"] + sum(row["megabytes"] for row in profile["plugins"])
    assert megabytes == pytest.approx(profile["megabytes"])


def test_a_plugin_that_leaks_stands_out(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    (tmp_path / "leak.py").write_text(LEAK)
    path = toy_recipe(stage=[STAGE_A], train={"log_every": 1})
    path.write_text(path.read_text().replace("toy_plugin.py", 'toy_plugin.py", "leak.py'))
    done = engine("run", path, "--profile-plugins")
    assert done.code == 0, done.err
    grown = {(Path(row["plugin"]).name, row["did"]): row["megabytes"] for row in profile_of(tmp_path)["plugins"]}
    leak = grown.pop(("leak.py", "engine_step"))
    assert leak == pytest.approx(12 * 8, rel=0.05)
    assert max(grown.values()) < leak / 4
    (line,) = [line for line in done.out.splitlines() if "leak.py" in line]
    assert line.split()[1:3] == ["engine_step", "12"]


def test_the_run_is_the_same_bit_for_bit(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    weights = []
    for arguments in ([], ["--profile-plugins"]):
        folder = tmp_path / "".join(arguments)
        path = toy_recipe(stage=[STAGE_A], model={"dropout": 0.5}, train=WITH_AVERAGE)
        assert engine("run", path, "--runs", folder / "runs", *arguments).code == 0
        weights.append(weights_of(only_run(folder), "A"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_json_document_holds_it(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(stage=[STAGE_A])
    document = json.loads(engine("run", path, "--profile-plugins", "--json").out)
    assert calls(document["profile"])["toy_plugin.py", "loss square"] == 13
    assert {row["stage"] for row in document["rows"]} == {"A"}
    assert "profile" not in json.loads(engine("run", path, "--json", "--runs", tmp_path / "plain").out)


def test_samples_made_by_workers_are_told_of_as_waiting(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A], train={"workers": 1}), "--profile-plugins")
    assert done.code == 0, done.err
    profile = profile_of(tmp_path)
    evaluations = calls(profile)["event log", "engine_evaluated"]
    samples = calls(profile)["toy_plugin.py", "data set toy, sample"]
    drawn = 4 * 2  # for the report, before and after the stage
    assert samples == 10 * evaluations + drawn + 2, "validation alone, and the first of both sets, which is noted"
    assert profile["seconds_waiting_for_data"] > 0
    assert "samples are made in worker processes, whose time is not here; the training waited" in done.out


def test_a_run_that_ends_badly_is_accounted_too(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A], data={"train": {"spoil": 1}}), "--profile-plugins")
    assert done.code == 3
    assert calls(profile_of(tmp_path))["toy_plugin.py", "loss square"] > 0


def test_a_model_that_fails_is_accounted_too(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A], data={"val": {"size": 0}}), "--profile-plugins")
    assert "the model toy failed" in done.err
    assert calls(profile_of(tmp_path))["toy_plugin.py", "model toy, forward"] == 1


def test_a_worker_neither_measures_nor_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(settle=lambda: pytest.fail("a forked process must not touch the device"))
    monkeypatch.setattr("engine.reporting.profile.get_worker_info", lambda: "a worker")
    watched = WatchedDataset(account, "toy", "data set toy", ToyData(DataOptions(count=3)))
    assert watched.sample(2, None)["id"] == "train-2"
    assert len(watched) == 3
    assert not account.costs


def test_without_the_option_nothing_is_wrapped_or_written(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A]))
    assert done.code == 0
    assert "what plugins took" not in done.out
    assert not (only_run(tmp_path) / "profile.json").exists()

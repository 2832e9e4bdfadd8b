"""`engine verify-resume` proves that a sound recipe resumes exactly, and finds what does not: stage, step and cause."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe
from toy_world import PLUGIN, STAGE_A, STAGE_B, STAGE_C, threshold

from engine.recipe import load_recipe
from engine.runs import verify

FORGETFUL = '''
"""Data sets and a model that a checkpoint does not hold wholly."""
import numpy as np
import torch
from engine.hookspecs import hookimpl
from toy_plugin import BaseOptions, DataOptions, ToyBase, ToyData


class Shared(ToyData):
    def sample(self, index, rng):
        sample = super().sample(index, rng)
        if rng is not None:
            sample["image"] = sample["image"] + np.float32(0.01 * np.random.normal())
        return sample


class Chance(ToyData):
    def sample(self, index, rng):
        return super().sample(index, None if rng is None else np.random.default_rng())


class Counting(ToyData):
    calls = 0

    def sample(self, index, rng):
        sample = super().sample(index, rng)
        if rng is not None:
            self.calls += 1
            sample["image"] = sample["image"] + np.float32(0.001 * self.calls)
        return sample


class Remembering(ToyBase):
    seen = 0

    def forward(self, batch):
        if self.training:
            self.seen += 1
        return super().forward({**batch, "image": batch["image"] + 0.001 * self.seen})


@hookimpl
def engine_datasets(register):
    register("shared", DataOptions, Shared)
    register("chance", DataOptions, Chance)
    register("counting", DataOptions, Counting)


@hookimpl
def engine_models(register):
    register("remembering", BaseOptions, Remembering, target="target")
'''

TWO_STAGES = [
    {**STAGE_A, "gate": [threshold(max=0.01)]},  # shortened, it would refuse; it judges quality and is not asked
    {**STAGE_C, "init": "A", "evaluate_every": 4},
]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where both runs are kept for the time being."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def forgetful(toy_recipe: WriteRecipe, tmp_path: Path) -> WriteRecipe:
    """As `toy_recipe`, with what does not survive an interruption at hand."""
    (tmp_path / "forgetful.py").write_text(FORGETFUL)

    def write(**changes: Any) -> Path:
        return toy_recipe(plugins=[str(PLUGIN), "forgetful.py"], **changes)

    return write


def test_in_interpreters_of_their_own_a_sound_recipe_is_identical(
    engine: Command, toy_recipe: WriteRecipe, scratch: Path
) -> None:
    done = engine("verify-resume", toy_recipe(model={"dropout": 0.3}, stage=[STAGE_A]), "--steps", "3")
    assert done.code == 0, done.err
    assert "3 steps a stage" in done.out
    assert "stage A stopped at step 1 (SIGTERM), to be resumed" in done.out
    assert "stage A killed at step 3 (SIGKILL), to be resumed" in done.out
    assert "identical" in done.out
    assert not list(scratch.iterdir()), "what was only needed for the proof is removed"


@pytest.mark.usefixtures("quick_processes", "scratch")
def test_everything_that_keeps_state_is_identical_and_the_figures_are_json(
    engine: Command, toy_recipe: WriteRecipe
) -> None:
    path = toy_recipe(
        model={"dropout": 0.3, "norm": True},
        train={"ema": 0.8, "accumulate": 2, "evaluate_every": 5, "schedule": {"name": "one-cycle"}},
        stage=[STAGE_A, {**STAGE_B, "evaluate_every": 0}],
    )
    done = engine("verify-resume", path, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["identical"] is True
    assert report["interruptions"] == [
        f"stage {stage} {how}"
        for stage in "AB"
        for how in ("stopped at step 3 (SIGTERM)", "killed at step 5 (SIGKILL)")
    ]
    a, b = report["stages"]
    assert (a["steps"], b["steps"]) == (7, 7), "six steps, one of them made again after the kill"
    assert (a["evaluations"], b["evaluations"]) == (5, 2), "before, after, and each second step of stage A"
    assert a["tensors"] == b["tensors"] > 0
    assert a["differences"] == b["differences"] == []


@pytest.mark.usefixtures("quick_processes", "scratch")
def test_the_fewest_steps_and_cached_outputs_are_identical_too(engine: Command, toy_recipe: WriteRecipe) -> None:
    data = {"train": {"noise": False}}
    path = toy_recipe(data=data, stage=[{**STAGE_A, "workers": 2}, {**STAGE_B, "cache": "on"}])
    done = engine("verify-resume", path, "--steps", "2")
    assert done.code == 0, done.err
    assert "stay in the cache" in done.out
    assert "stage B killed at step 2 (SIGKILL)" in done.out


@pytest.mark.usefixtures("quick_processes")
def test_a_data_set_that_counts_its_calls_is_found(engine: Command, forgetful: WriteRecipe, scratch: Path) -> None:
    done = engine("verify-resume", forgetful(data={"train": {"plugin": "counting"}}, stage=TWO_STAGES))
    assert done.code == 1
    assert "stage A of the interrupted run differs from the untouched one at step 4: loss is" in done.err
    assert "two untouched runs agree" in done.err
    assert "counts its calls" in done.err
    assert "differs: 3 steps by at most" in done.out
    (kept,) = scratch.iterdir()
    assert str(kept) in done.err


@pytest.mark.usefixtures("quick_processes", "scratch")
def test_a_global_generator_is_found_in_data_workers_alone(engine: Command, forgetful: WriteRecipe) -> None:
    data = {"train": {"plugin": "shared"}}
    assert engine("verify-resume", forgetful(data=data, stage=[STAGE_A])).code == 0, "a checkpoint holds its state"
    done = engine("verify-resume", forgetful(data=data, stage=[{**STAGE_A, "workers": 2}]))
    assert done.code == 1
    assert "stage A of the interrupted run differs from the untouched one at step 4: loss is" in done.err
    assert "two untouched runs agree" in done.err
    assert "in data workers, from a global one" in done.err


@pytest.mark.usefixtures("quick_processes", "scratch")
def test_a_data_set_without_a_seed_is_found(engine: Command, forgetful: WriteRecipe) -> None:
    done = engine("verify-resume", forgetful(data={"train": {"plugin": "chance"}}, stage=[STAGE_A]), "--json")
    assert done.code == 1
    assert "at step 1: loss is" in done.err
    assert "two untouched runs differ as well" in done.err
    assert "numpy.random.default_rng()" in done.err
    report = json.loads(done.out)
    assert (report["identical"], report["untouched_runs_agree"]) == (False, False)
    first = report["stages"][0]["differences"][0]
    assert (first["kind"], first["name"]) == ("step", "1")
    assert first["size"] > 0


@pytest.mark.usefixtures("quick_processes", "scratch")
def test_a_model_that_keeps_state_in_an_attribute_is_found(engine: Command, forgetful: WriteRecipe) -> None:
    done = engine("verify-resume", forgetful(model={"plugin": "remembering"}, stage=TWO_STAGES), "--steps", "4")
    assert done.code == 1
    assert "stage A of the interrupted run differs from the untouched one at step 3: loss is" in done.err
    assert "tensors of the stage differ; most of all: base." in done.err
    assert "make it a parameter or a buffer" in done.err


@pytest.mark.usefixtures("quick_processes")
def test_a_recipe_that_cannot_run_fails_in_its_own_words(
    engine: Command, toy_recipe: WriteRecipe, scratch: Path
) -> None:
    done = engine("verify-resume", toy_recipe(stage=[{**STAGE_A, "trainable": ["base.nothing.**"]}]))
    assert done.code == 2
    assert "base.nothing.**" in done.err
    spoilt = engine("verify-resume", toy_recipe(data={"train": {"spoil": 0}}, stage=[{**STAGE_A, "batch_size": 24}]))
    assert spoilt.code == 3
    assert "not finite" in spoilt.err
    assert not list(scratch.iterdir())


@pytest.mark.usefixtures("quick_processes")
def test_a_run_that_cannot_be_resumed_is_told_and_kept(
    engine: Command, toy_recipe: WriteRecipe, scratch: Path, tmp_path: Path
) -> None:
    (tmp_path / "once.py").write_text(
        "from engine.hookspecs import hookimpl\n"
        "@hookimpl\n"
        "def engine_run_started(event):\n"
        "    if event.resumed: raise RuntimeError('I only start')\n"
    )
    done = engine("verify-resume", toy_recipe(plugins=[str(PLUGIN), "once.py"], stage=[STAGE_A]))
    assert done.code == 1
    assert "ended with exit code 1 where stage A killed at step 5 (SIGKILL), exit code -9 was due" in done.err
    assert "I only start" in done.err
    (kept,) = scratch.iterdir()
    assert str(kept) in done.err


def test_a_recipe_without_stages_has_nothing_to_interrupt(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("verify-resume", toy_recipe(stage=[]))
    assert done.code == 2
    assert "no stages" in done.err


def test_shortening_leaves_the_rest_of_the_recipe_alone(toy_recipe: WriteRecipe) -> None:
    recipe = load_recipe(toy_recipe(stage=TWO_STAGES))
    data, words = verify.shorten(recipe, 6)
    before = recipe.resolved()
    changed = {name for name in before if data[name] != before[name]}
    assert changed == {"plugins", "data", "stage"}
    for stage, short in zip(before["stage"], data["stage"], strict=True):
        changed = {name for name in stage if stage[name] != short[name]}
        assert changed <= {"steps", "gate", "log_every", "checkpoint_every", "evaluate_every"}
    assert [stage["evaluate_every"] for stage in data["stage"]] == [None, 2]
    assert "no gates" in words

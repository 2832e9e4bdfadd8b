"""A base without parameters goes through every command that takes a base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Command, only_run, weights_of

RECIPE = """
name = "sgbm"
plugins = ["{plugin}"]
model = {{ plugin = "sgbm", num_disparities = 32 }}
injection = {{ plugin = "offset" }}
data.train = {{ plugin = "pairs" }}
data.val = {{ plugin = "pairs", first = 100, count = 3 }}
train = {{ losses = [{{ name = "disparity_l1" }}], batch_size = 2, optimizer = {{ lr = 0.05 }} }}

[evaluate]
metrics = [{{ name = "epe", quantities = ["epe", "bad"] }}]
key = ["epe/all"]

[[stage]]
name = "B"
trainable = ["injection.**"]
frozen = ["base.**"]
injection = true
warp = "gt"
steps = 4
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "sgbm.toml"
    path.write_text(RECIPE.format(plugin=Path(__file__).with_name("sgbm_plugin.py")))
    return path


def test_it_is_the_frozen_base_of_a_stage_that_trains_only_the_injection(engine: Command, recipe: Path) -> None:
    planned = json.loads(engine("plan", recipe, "--json").out)
    done = engine("run", recipe)
    assert (done.code, planned["name"]) == (0, "sgbm"), done.err
    weights = weights_of(only_run(recipe.parent, "sgbm"), "B")
    assert list(weights) == ["injection.weight"]
    assert weights["injection.weight"] != 0, "nothing was learnt"


def test_its_answers_can_be_kept_for_a_frozen_stage(engine: Command, recipe: Path) -> None:
    done = engine("run", recipe, "--set", "train.cache=on")
    assert done.code == 0, done.err
    done = engine("run", recipe, "--fresh")
    runs = sorted((recipe.parent / "runs" / "sgbm").iterdir())
    cached, live = (weights_of(run, "B")["injection.weight"] for run in runs)
    assert cached == live


def test_evaluation_and_feasibility_take_it_without_weights_and_with_those_of_a_run(
    engine: Command, recipe: Path
) -> None:
    before = json.loads(engine("eval", recipe, "--json").out)
    assert before["mean"] == before["base_mean"]
    # 32 of the 96 columns have no partner for every disparity, so 0 px stands there in place of 6.
    assert before["mean"]["epe/all"] == pytest.approx(6 * 32 / 96, abs=0.5)
    assert engine("check-feasibility", recipe).code in (0, 4)
    assert engine("run", recipe).code == 0
    after = json.loads(engine("eval", recipe, "--weights", only_run(recipe.parent, "sgbm"), "--json").out)
    assert after["base_mean"] == before["mean"] != after["mean"]


def test_training_it_is_refused_in_words(engine: Command, recipe: Path) -> None:
    done = engine("check", recipe, "--set", "stage.B.trainable=['base.**']")
    assert done.code == 2
    assert "'base.**' names modules without parameters, in which nothing can train; expected a pattern for" in done.err


def test_its_answers_are_not_kept_where_it_is_not_frozen(engine: Command, recipe: Path) -> None:
    all_of_it = ("--set", "stage.B.trainable=['**']", "--set", "stage.B.frozen=[]", "--set", "train.cache=on")
    done = engine("check", recipe, *all_of_it)
    assert done.code == 2
    assert "in stage B, which leaves base in training mode, though it has nothing to train" in done.err


def test_the_plan_shows_it_in_the_tree(engine: Command, recipe: Path) -> None:
    assert "base has no parameters" in engine("plan", recipe).out


def test_on_the_pair_that_everybody_has_it_errs_as_measured(engine: Command) -> None:
    done = engine("eval", Path(__file__).parents[2] / "recipes" / "sgbm.toml", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    known = {"epe/all": 4.00, "a50/all": 0.198, "bad2/all": 18.1, "a95/all": 28.6}  # OpenCV 5.0.0
    assert {name: found["mean"][name] for name in known} == pytest.approx(known, rel=0.05)
    assert found["skipped"]["epe/noc"] == 1, "the pair has no mask of what is occluded"

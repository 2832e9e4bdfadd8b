"""`engine sweep` from the first trial to the recipe of the best one, with trials that are given up on the way."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe
from sweep_world import RANGE, folder, found, recipe
from toy_world import threshold

from engine.runs.history import read_run


def test_the_best_trial_is_a_recipe_that_gives_its_figure_again(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    done = engine("sweep", path, "--set", RANGE, "--trials", 3)
    assert done.code == 0, done.err
    document = found(tmp_path / "runs")
    best = document["trials"][document["best"]]
    assert best["value"] == min(trial["value"] for trial in document["trials"])

    (command,) = [line.partition("again: engine ")[2].split() for line in done.out.splitlines() if "again: " in line]
    assert engine(*command).code == 0
    (again,) = (tmp_path / "runs" / "toy").iterdir()
    assert read_run(again).rows[-1]["mean"]["error"] == best["value"]
    assert [stage.state for stage in read_run(again).stages] == ["done"] * 3, "trained, not taken from the sweep"

    (command,) = [line.partition("or: engine ")[2].split() for line in done.out.splitlines() if "or: engine " in line]
    planned = json.loads(engine("plan", *command[1:], "--json").out)
    assert all(stage["reused_from"] for stage in planned["stages"]), "the same stages, by the same keys"


def test_a_sweep_grows_by_asking_for_more_trials_and_another_range_is_another_sweep(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    for trials, todo in ((2, 2), (3, 1), (2, 0)):
        done = engine("sweep", path, "--set", RANGE, "--trials", trials)
        assert done.code == 0, done.err
        assert f": trials to do: {todo}\n" in done.out
    first = folder(tmp_path / "runs")
    assert len(found(tmp_path / "runs")["trials"]) == 3
    for name in ("history.png", "keys.png", "on-the-way.png", "trials.csv", "best.json", "study.db"):
        assert (first / name).stat().st_size > 0
    table = (first / "trials.csv").read_text().splitlines()
    assert table[0] == "trial,error,stage.C.optimizer.lr,reason,run,seconds"
    assert table[1].startswith(f"0,{found(tmp_path / 'runs')['trials'][0]['value']!r},0.02,,")

    nothing = engine("sweep", path, "--set", "stage.C.optimizer.lr=log(1e-3,0.1)", "--resume")
    assert nothing.code == 2
    assert "there is no sweep" in nothing.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [first.name]


def test_runs_in_another_folder_are_in_the_commands_that_it_prints(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    done = engine("sweep", path, "--set", RANGE, "--trials", 1, "--runs", "my runs")
    assert done.code == 0, done.err
    again, other = (
        shlex.split(line.partition(": engine ")[2]) for line in done.out.splitlines() if ": engine run" in line
    )
    planned = json.loads(engine("plan", *other[1:], "--json").out)
    assert all(stage["reused_from"] for stage in planned["stages"])
    assert engine(*again).code == 0
    assert len([*(tmp_path / "my runs" / "toy").iterdir()]) == 1


INFINITE = """
from pathlib import Path

import torch
from toy_plugin import Options, ToyMetric

from engine.hookspecs import hookimpl


class Early(ToyMetric):
    def __call__(self, prediction, batch):
        total, count = super().__call__(prediction, batch)["error"]
        return {"early": (total if Path("late").exists() else torch.full_like(total, torch.inf), count)}


@hookimpl
def engine_metrics(register):
    register("early", Options, Early, produces=lambda options: ["early"])


@hookimpl
def engine_step(event):
    if (event.stage, event.step) == ("C", 6):
        Path("late").touch()
"""


def test_figures_on_the_way_that_are_not_finite_are_null_in_its_json(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    metrics = [{"name": "error"}, {"name": "early"}]
    path = recipe(toy_recipe, tmp_path, evaluate={"metrics": metrics, "best": "early"})
    (tmp_path / "signalling.py").write_text(INFINITE)
    done = engine("sweep", path, "--set", RANGE, "--trials", 1, "--json")
    assert done.code == 0, done.err
    (trial,) = json.loads(done.out, parse_constant=pytest.fail)["trials"]
    assert trial["reported"] == {"2": None, "4": None}
    assert trial["value"] > 0


EDITING = """
from pathlib import Path

from engine.hookspecs import hookimpl


@hookimpl
def engine_run_finished(event):
    # After the first trial, whose folder this is, and not after the stages that all share.
    if event.gates:
        recipe = Path("toy.toml")
        recipe.write_text(recipe.read_text().replace("batch_size = 4", "batch_size = 3"))
"""


def test_a_recipe_that_is_edited_meanwhile_ends_the_sweep_and_begins_another_one(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    (tmp_path / "signalling.py").write_text(EDITING)
    done = engine("sweep", path, "--set", RANGE, "--trials", 2)
    assert done.code == 2
    assert f"toy.toml has changed since the sweep runs/{folder(tmp_path / 'runs').name} was begun" in done.err
    first = folder(tmp_path / "runs")
    trained_with = [read_run(run).recipe["train"]["batch_size"] for run in first.iterdir() if run.is_dir()]
    assert trained_with == [4, 4], "the stages that are shared, and one trial"

    again = engine("sweep", path, "--set", RANGE, "--trials", 1)
    assert again.code == 0, again.err
    assert len([*(tmp_path / "runs").glob("toy-sweep-*")]) == 2


def test_a_gate_gives_trials_up_and_says_why(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = recipe(toy_recipe, tmp_path, gate=threshold(max=0.6))
    done = engine("sweep", path, "--set", "stage.C.optimizer.lr=choice(1e-6,0.1)", "--trials", 5, "--pruner", "none")
    assert done.code == 0, done.err
    trials = found(tmp_path / "runs")["trials"]
    assert {trial["values"]["stage.C.optimizer.lr"] for trial in trials} == {"1e-6", "0.1"}
    for trial in trials:
        refused = trial["values"]["stage.C.optimizer.lr"] == "1e-6"
        assert (trial["value"] is None) is refused
        assert trial["reason"].startswith("gate 'threshold' at the exit of stage C says fail: ") is refused
    assert "given up: gate 'threshold'" in done.out

    none = engine("sweep", path, "--set", "stage.C.gate.threshold.max=uniform(0,1e-3)", "--trials", 2)
    assert none.code == 4
    assert "none of 2 trials came to its end; the last one: gate 'threshold'" in none.err


EITHER = """
from pydantic import BaseModel
from toy_plugin import ToyLoss

from engine.hookspecs import hookimpl


class Either(BaseModel):
    flag: bool | int


@hookimpl
def engine_losses(register):
    register("either", Either, ToyLoss)
"""


def test_one_is_not_taken_for_true(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = recipe(toy_recipe, tmp_path, train={"losses": [{"name": "either", "flag": 1}]})
    (tmp_path / "signalling.py").write_text(EITHER)
    done = engine("sweep", path, "--set", "train.losses.either.flag=choice(true,1)", "--trials", 1)
    assert done.code == 0, done.err
    document = found(tmp_path / "runs")
    assert (document["own"], document["trials"][0]["values"]) == (0, {"train.losses.either.flag": "1"})


ODD = """
from pydantic import BaseModel, field_validator
from toy_plugin import ToyLoss

from engine.hookspecs import hookimpl


class Odd(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def odd(cls, number):
        if number % 2 == 0:
            raise ValueError(f"{number} is even")
        return number


@hookimpl
def engine_losses(register):
    register("odd", Odd, ToyLoss)
"""


def test_values_between_the_ends_that_the_recipe_refuses_are_a_trial_given_up(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path, train={"losses": [{"name": "odd", "number": 3}]})
    (tmp_path / "signalling.py").write_text(ODD)
    done = engine("sweep", path, "--set", "train.losses.odd.number=int(1,3)", "--trials", 5, "--pruner", "none")
    assert done.code == 0, done.err
    trials = found(tmp_path / "runs")["trials"]
    assert {trial["values"]["train.losses.odd.number"] for trial in trials} == {1, 2, 3}
    for trial in trials:
        refused = trial["values"]["train.losses.odd.number"] == 2
        assert (trial["value"] is None) is refused
        assert trial["reason"].endswith("2 is even") is refused


def test_values_with_which_a_run_cannot_begin_are_a_trial_given_up_and_the_sweep_goes_on(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path, pruner = recipe(toy_recipe, tmp_path), ["--pruner", "none"]
    names = ["--set", """stage.C.trainable=choice(["**"],["inection.**"])"""]
    done = engine("sweep", path, *names, "--trials", 4, *pruner)
    assert done.code == 0, done.err
    trials = found(tmp_path / "runs")["trials"]
    wrong = [trial for trial in trials if trial["values"]["stage.C.trainable"] == '["inection.**"]']
    assert wrong, "the choice that cannot be was tried"
    for trial in trials:
        assert (trial["value"] is None) is (trial in wrong)
        assert trial["exit"] == (2 if trial in wrong else 0)
        refused = trial["reason"].startswith("these values are refused: --set stage.C.trainable=")
        assert refused is (trial in wrong)
    assert "pattern 'inection.**' matches no module" in wrong[0]["reason"]
    more = engine("sweep", path, *names, "--trials", 5, *pruner)
    assert more.code == 0, more.err
    assert ": trials to do: 1\n" in more.out

    never = ["--set", """stage.C.trainable=choice(["inection.**"],["bse.**"])"""]
    none = engine("sweep", path, *never, "--trials", 2, *pruner)
    assert none.code == 2
    assert "none of 2 trials came to its end; the last one: these values are refused: " in none.err


def test_a_recipe_that_is_wrong_without_any_trial_is_told_before_the_first(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    done = engine("sweep", path, "--set", RANGE, "--set", """stage.C.trainable=["inection.**"]""")
    assert done.code == 2
    assert "pattern 'inection.**' matches no module" in done.err
    assert not (tmp_path / "runs").exists()


def test_training_that_diverges_is_a_trial_given_up(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = recipe(toy_recipe, tmp_path)
    diverging = ["--set", "train.clip_norm=0", "--set", "stage.C.optimizer.lr=log(1e36,1e37)"]
    done = engine("sweep", path, *diverging, "--trials", 2)
    assert done.code == 3, done.err
    assert all("not finite" in trial["reason"] for trial in found(tmp_path / "runs")["trials"])
    assert "lie outside" not in done.out


def test_the_recipes_own_values_are_the_first_trial_and_the_verdict_tells_of_them(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    path.write_text(path.read_text().replace(', best = "error"', ""))  # so that the recipe does not tell what is best
    both = ["--set", RANGE, "--set", "stage.C.schedule.name=choice(cosine,constant)", "--set", "stage.C.warp=gt"]
    done = engine("sweep", path, *both, "--trials", 3, "--maximize", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    own, best = (document["trials"][document[which]] for which in ("own", "best"))
    assert own["trial"] == 0
    assert best["value"] == max(trial["value"] for trial in document["trials"])
    assert own["values"] == {"stage.C.optimizer.lr": 0.02, "stage.C.schedule.name": "cosine"}
    said = f"the recipe's own values give {own['value']:.6g}" if own is not best else "no other trial is better"
    assert f"best: trial {best['trial']}, error {best['value']:.6g}; " in done.err
    assert said in done.err
    run = read_run(folder(tmp_path / "runs") / own["run"])
    assert run.recipe["stage"][2]["warp"] == "gt"
    assert run.rows[-1]["mean"]["error"] == own["value"]

    outside = engine("sweep", path, "--set", "stage.C.optimizer.lr=log(0.03,0.1)", "--trials", 1)
    assert "the recipe's own values lie outside of the ranges and were not tried" in outside.out

"""`engine sweep` from the first trial to the recipe of the best one, through interruptions and with several workers."""

from __future__ import annotations

import fcntl
import json
import shlex
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from conftest import Command, Forks, WriteRecipe
from engine_sweep.space import Swept
from engine_sweep.study import ask, open_study
from engine_sweep.sweep import Sweep
from sweep_world import RANGE, folder, found, recipe, trained
from toy_world import threshold

from engine.files import is_held
from engine.runs.history import read_run

SIX = ["--set", RANGE, "--trials", "6", "--prune-after", "2"]


def told(runs: Path) -> list[dict[str, object]]:
    """The trials without what no two sweeps share."""
    return [{**trial, "run": "", "seconds": 0} for trial in found(runs)["trials"]]


def test_six_trials_interrupted_killed_and_gone_on_with_are_those_of_an_undisturbed_sweep(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    sweep = ["sweep", path, *SIX, "--runs"]
    undisturbed = forks.run(*sweep, "quiet", folder=tmp_path)
    assert undisturbed.code == 0, undisturbed.err

    stopped = forks.run(*sweep, "runs", folder=tmp_path, SWEEP_STOP="9 SIGINT self")
    assert stopped.code == 5, stopped.err
    assert "stopped by SIGINT" in stopped.err
    assert "at step 3 of stage C; 1 of 6 trials are over: the same command goes on" in stopped.err
    assert len(found(tmp_path / "runs")["trials"]) == 1
    killed = forks.run(*sweep, "runs", folder=tmp_path, SWEEP_STOP="17 SIGKILL self")
    assert killed.code == -9
    ended = forks.run(*sweep, "runs", "--resume", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert ", 1 of them interrupted" in ended.out

    assert told(tmp_path / "runs") == told(tmp_path / "quiet")
    assert len(told(tmp_path / "runs")) == 6
    assert [trial["reason"] == "" for trial in told(tmp_path / "runs")].count(False) > 0, "the pruner had its say"
    assert {step for trial in told(tmp_path / "runs") for step in trial["reported"]} == {"2", "4"}, "not at the end, 6"
    assert (trained(tmp_path / "runs", "A"), trained(tmp_path / "runs", "B")) == (1, 1)
    runs = [path for path in folder(tmp_path / "runs").iterdir() if path.is_dir()]
    assert len(runs) == 7, "one for the stages that are shared, and one a trial, interrupted or not"


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


def test_two_workers_share_the_first_stages_and_leave_when_the_first_process_is_stopped_or_killed(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    sweep = ["sweep", path, *SIX]
    killed = forks.run(*sweep, "--workers", 2, folder=tmp_path, SWEEP_STOP="9 SIGKILL parent")
    assert killed.code == -9
    deadline = time.monotonic() + 60
    while any(is_held(lock) for lock in folder(tmp_path / "runs").glob("worker-*.lock")):
        assert time.monotonic() < deadline, "the workers do not leave"
        time.sleep(0.05)
    assert over(tmp_path / "runs") < 6, "they stopped after their step, and not after the sweep"

    stopped = forks.run(*sweep, "--workers", 2, folder=tmp_path, SWEEP_STOP="14 SIGINT parent")
    assert stopped.code == 5, stopped.err
    assert "the same command goes on" in stopped.err
    assert over(tmp_path / "runs") < 6

    ended = forks.run(*sweep, folder=tmp_path)
    assert ended.code == 0, ended.err
    assert [trial["trial"] for trial in found(tmp_path / "runs")["trials"]] == list(range(6))
    assert (trained(tmp_path / "runs", "A"), trained(tmp_path / "runs", "B")) == (1, 1)


def test_one_worker_asks_for_a_trial_at_a_time(tmp_path: Path) -> None:
    sweep = Sweep(Path("toy.toml"), (), (Swept("key", "uniform", 0.0, 1.0),), "error", False, "none", 5, 0, tmp_path)
    study = open_study(sweep)
    asking = threading.Thread(target=lambda: ask(sweep, study))
    with (tmp_path / "ask.lock").open("w") as another:
        fcntl.flock(another, fcntl.LOCK_EX)
        asking.start()
        asking.join(0.3)
        assert study.get_trials() == []
    asking.join(30)
    assert len(study.get_trials()) == 1


def over(runs: Path) -> int:
    """How many trials have ended, as the file of the sweep has it."""
    with sqlite3.connect(folder(runs) / "study.db") as file:
        states = [state for (state,) in file.execute("select state from trials")]
    return sum(state in ("COMPLETE", "PRUNED") for state in states)


def test_a_signal_at_the_very_end_of_a_trial_stops_the_sweep_and_not_the_trial(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    sweep = ["sweep", recipe(toy_recipe, tmp_path), "--set", RANGE, "--trials", 2]
    stopped = forks.run(*sweep, folder=tmp_path, SWEEP_STOP="end SIGINT self")
    assert stopped.code == 5, stopped.err
    assert "stopped by SIGINT after trial 0; 1 of 2 trials are over" in stopped.err
    assert [trial["trial"] for trial in found(tmp_path / "runs")["trials"]] == [0]


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

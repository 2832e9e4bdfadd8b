"""Every hook has a test here: the example of its page in docs/hooks runs, and does what the hook is for.

A hook without a test fails `test_every_hook_has_a_test_of_its_own`. A test that would pass although its example did
nothing fails `test_the_test_of_a_hook_sees_when_its_example_does_nothing`.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command, Forks, Installed, WriteRecipe, events_of, only_run, weights_of
from test_hooks import HEARD, HOOKS, INDEX, PAGES, blocks
from toy_world import STAGE_A

from engine.registered import SINGULAR
from engine.runs.history import read_run

SILENT = """
from engine.hookspecs import hookimpl


@hookimpl
def {hook}({argument}):
    pass
"""
OPTIONAL = [*HEARD, "engine_pictures", "engine_inspections", "engine_exports", "engine_inputs", "engine_trackers"]
"""Hooks whose example can be silent in a recipe that runs all the same."""
ASKED_BY_RECIPES = [hook for hook in HOOKS if hook not in [*OPTIONAL, "engine_commands"]]
ASKED = {"engine_trackers": '[[tracker]]\nplugin = "lines"\n'}


@dataclass
class World:
    """A folder in which the commands of the index have run, and what they printed."""

    folder: Path
    printed: str

    @property
    def run(self) -> Path:
        return only_run(self.folder, "hooks")

    def events(self, kind: str) -> list[dict[str, Any]]:
        return events_of(self.run, kind)


def lay_out(folder: Path, silent: Sequence[str]) -> None:
    """The recipe of the index with the examples of all pages; those of `silent` are there and do nothing."""
    (recipe,) = blocks(INDEX, "toml")
    for hook in HOOKS:
        (code,) = blocks(PAGES / f"{hook}.md", "python")
        argument = "event" if hook in HEARD else "register"
        (folder / f"{hook}.py").write_text(SILENT.format(hook=hook, argument=argument) if hook in silent else code)
        recipe = recipe.replace(ASKED.get(hook, "\0"), "") if hook in silent else recipe
    (folder / "hooks.toml").write_text(recipe)


def make_world(forks: Forks, folder: Path, silent: Sequence[str] = ()) -> World:
    """Run what the index says; examples that are silent do nothing."""
    lay_out(folder, silent)
    commands = [shlex.split(line)[1:] for line in "".join(blocks(INDEX, "sh")).splitlines()]
    done = [forks.run(*words, folder=folder) for words in commands]
    shutil.copytree(folder / "runs", folder / "later")
    for file in (folder / "later").glob("hooks/*/provenance.json"):
        file.write_text("{")  # the next run warns of it, and takes the stages from there all the same
    done.append(forks.run("run", "hooks.toml", "--runs", "later", folder=folder))
    assert silent or not any(each.code for each in done), [each.err for each in done]
    return World(folder, "".join(each.out for each in done))


@pytest.fixture(scope="module")
def world(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(forks, tmp_path_factory.mktemp("hooks"))


@pytest.fixture(scope="module")
def silent_world(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(forks, tmp_path_factory.mktemp("silent"), OPTIONAL)


def test_engine_models_brings_the_base_that_trains(world: World) -> None:
    assert weights_of(world.run, "A")["base.layers.0.weight"].shape == (2, 1, 3, 3), "width = 2"


def test_engine_injections_brings_the_module_that_learns(world: World) -> None:
    assert weights_of(world.run, "A")["injection.scale"].item() == 0
    assert weights_of(world.run, "B")["injection.scale"].item() != 0


def test_engine_datasets_brings_what_is_measured(world: World) -> None:
    measured = [json.loads(path.read_text()) for path in world.run.glob("stage-A/evaluation-after-*.json")]
    assert measured[0]["ids"] == ["1-0", "1-1", "1-2", "1-3"]


def test_engine_losses_brings_what_is_minimised(world: World) -> None:
    assert [step["terms"] for step in world.events("step")] == [
        {"huber": step["loss"]} for step in world.events("step")
    ]


def test_engine_metrics_brings_what_is_told(world: World) -> None:
    assert {tuple(event["evaluation"]["mean"]) for event in world.events("evaluated")} == {("error",)}


def test_engine_gates_brings_a_verdict_with_its_figures(world: World) -> None:
    verdict = world.events("gate_decided")[-1]["verdict"]
    assert verdict["status"] == ("pass" if verdict["figures"]["corrected"] <= verdict["figures"]["base"] else "fail")
    assert verdict["advice"] == "train longer"


def test_engine_inputs_brings_answers_to_ones_own_files(world: World) -> None:
    halves = {path.name: np.load(path) for path in (world.folder / "predictions").glob("*.npy")}
    assert sorted(halves) == ["1-0.npy", "1-1.npy", "1-2.npy", "1-3.npy"]
    assert all(half.shape == (1, 16, 16) for half in halves.values())


def test_engine_exports_brings_a_file_for_each_sample(world: World) -> None:
    written = {path.name: np.load(path) for path in (world.folder / "runs" / "eval" / "arrays").glob("*.npy")}
    assert sorted(written) == ["1-0.npy", "1-1.npy", "1-2.npy", "1-3.npy"]
    assert all(value.shape == (1, 16, 16) for value in written.values())


def test_engine_inspections_brings_a_row_for_each_data_set(world: World) -> None:
    (row,) = [line for line in world.printed.splitlines() if "mean of the pictures" in line]
    assert [0.4 < float(figure) < 0.6 for figure in row.split()[-2:]] == [True, True]


def test_engine_pictures_brings_what_the_report_shows(world: World) -> None:
    drawn = json.loads((world.run / "stage-A" / "pictures" / "after" / "index.json").read_text())["samples"]
    assert {picture["name"] for sample in drawn for picture in sample["pictures"]} == {"picture", "depth"}


def test_engine_trackers_brings_what_is_told_of_the_run(world: World) -> None:
    lines = [json.loads(line) for line in (world.folder / "figures.jsonl").read_text().splitlines()]
    assert lines[0]["run"] == world.run.name
    assert {"status": "done"} in lines
    assert any("val/error" in line for line in lines)


def test_engine_commands_brings_what_the_command_line_calls(
    engine: Command, installed: Installed, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (code,) = blocks(PAGES / "engine_commands.md", "python")
    installed("several", code)

    done = engine("seeds", toy_recipe(stage=[{**STAGE_A, "steps": 2}]), "--count", 2)

    assert done.code == 0, done.err
    figures = [read_run(run).rows[-1]["mean"]["error"] for run in (tmp_path / "runs" / "toy").iterdir()]
    assert done.out == f"error: {min(figures):.4f} .. {max(figures):.4f} over 2 seeds\n"


def test_engine_run_started_hears_of_stages_and_device(world: World) -> None:
    assert re.fullmatch(r"hooks: A, B on \S*, cpu\n", (world.run / "notes.txt").read_text())


def test_engine_stage_started_hears_where_the_weights_come_from(world: World) -> None:
    assert "1 of 2: A, 2 steps from fresh weights\n" in world.printed
    assert "2 of 2: B, 2 steps from stage-A\n" in world.printed


def test_engine_stage_frozen_hears_how_much_trains(world: World) -> None:
    assert "stage A trains 95.8% of the numbers\n" in world.printed
    assert "stage B trains 4.2% of the numbers\n" in world.printed


def test_engine_step_hears_the_figures_of_every_step(world: World) -> None:
    rows = [line.split(",") for line in (world.folder / "losses.csv").read_text().splitlines()]
    told = [(step["stage"], step["step"], step["loss"], step["learning_rate"]) for step in world.events("step")]
    assert [(stage, int(step), float(loss), float(rate)) for stage, step, loss, rate in rows] == told


def test_engine_evaluated_hears_each_samples_figure(world: World) -> None:
    told = re.findall(r"^(\w) (.+), val: error is worst on (1-\d), (\d\.\d{3})$", world.printed, re.MULTILINE)
    assert [(stage, moment) for stage, moment, *_ in told] == [
        (event["stage"], event["moment"]) for event in world.events("evaluated")
    ]


def test_engine_gate_decided_hears_what_follows(world: World) -> None:
    assert re.search(
        r"^feasibility at the entry of B: undetermined, .* \(go on, overridden\)$", world.printed, re.MULTILINE
    )


def test_engine_checkpoint_saved_hears_of_the_best(world: World) -> None:
    best = re.findall(r"the best of stage (\w) so far is that of step (\d), at (\S+)", world.printed)
    saved = [event for event in world.events("checkpoint_saved") if event["best"]]
    assert [(stage, int(step)) for stage, step, _ in best] == [(event["stage"], event["step"]) for event in saved]
    assert best


def test_engine_stage_finished_hears_where_the_weights_are(world: World) -> None:
    for stage in ("stage-A", "stage-B"):
        copy = (world.run / stage / "hand-over.safetensors").read_bytes()
        assert copy == (world.run / stage / "weights.safetensors").read_bytes()


def test_engine_run_finished_hears_the_whole_table(world: World) -> None:
    told = json.loads((world.run / "summary.json").read_text())
    assert told["status"] == "done"
    assert [row["after"] for row in told["rows"]] == ["A", "A", "B"]


def test_engine_note_hears_of_warnings(world: World) -> None:
    assert "provenance.json is damaged" in (world.folder / "warnings.txt").read_text()


def its_test(hook: str) -> Callable[[World], None]:
    module = vars(sys.modules[__name__])
    (found,) = [function for name, function in module.items() if name.startswith(f"test_{hook}_")]
    return found


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test_of_its_own(hook: str) -> None:
    assert callable(its_test(hook))


@pytest.mark.parametrize("hook", OPTIONAL)
def test_the_test_of_a_hook_sees_when_its_example_does_nothing(silent_world: World, hook: str) -> None:
    with pytest.raises((AssertionError, FileNotFoundError, StopIteration, ValueError)):
        its_test(hook)(silent_world)


@pytest.mark.parametrize("hook", ASKED_BY_RECIPES)
def test_without_its_example_the_recipe_names_what_is_missing(engine: Command, tmp_path: Path, hook: str) -> None:
    lay_out(tmp_path, (hook,))
    done = engine("check", "hooks.toml")
    assert done.code == 2
    assert f"no plugin brings the {SINGULAR[hook.removeprefix('engine_')]} " in done.err

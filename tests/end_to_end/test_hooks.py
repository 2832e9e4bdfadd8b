"""The pages in docs/hooks: one for each hook, its signature as the code has it, and the order that they state."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from conftest import Command, Forks, Installed, WriteRecipe, only_run
from toy_world import PLUGIN, STAGE_A, STAGE_B, threshold

from engine import hookspecs
from engine.plugins import HOOK_OF_EVENT, load
from engine.runs.history import read_run
from conftest import Command, WriteRecipe
from toy_world import PLUGIN, STAGE_A, STAGE_B, threshold

from engine import hookspecs
from engine.plugins import HOOK_OF_EVENT

PAGES = Path(__file__).parents[2] / "docs" / "hooks"
INDEX = PAGES / "README.md"
HOOKS = [name for name in vars(hookspecs) if name.startswith("engine_")]
HEARD = list(HOOK_OF_EVENT.values())


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_page_tells_the_signature_when_it_is_called_and_what_it_returns(hook: str) -> None:
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    heading, *rest = (PAGES / f"{hook}.md").read_text().splitlines()

    assert heading == f"# `{hook}{signature}`"
    assert any(line.startswith("**Called** ") for line in rest)
    assert any(line.startswith("**Returns** ") for line in rest)
    assert f"[{hook}]({hook}.md)" in INDEX.read_text()


def test_no_page_is_left_of_a_hook_that_is_gone() -> None:
    assert {page.stem for page in PAGES.glob("engine_*.md")} == set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test_that_implements_it(hook: str) -> None:
    # The saboteur of tests/faults breaks hooks, and tells nothing of what a hook that works is for.
    files = [file for file in TESTS.rglob("*.py") if "faults" not in file.parts]
    assert any(re.search(rf"def {hook}\(", file.read_text()) for file in files)


@pytest.fixture(scope="module")
def world(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the commands of the index have run with the examples of all pages."""
    folder = tmp_path_factory.mktemp("hooks")
    for hook in HOOKS:
        (code,) = blocks(PAGES / f"{hook}.md", "python")
        (folder / f"{hook}.py").write_text(code)
    (recipe,) = blocks(INDEX, "toml")
    (folder / "hooks.toml").write_text(recipe)
    for line in "".join(blocks(INDEX, "sh")).splitlines():
        words = shlex.split(line)[1:] + (["--profile-plugins"] if " run " in line else [])
        done = forks.run(*words, folder=folder)
        assert done.code == 0, f"{line}: {done.err}"
        with (folder / "printed.txt").open("a") as file:
            file.write(done.out)
    return folder


@pytest.mark.parametrize("hook", HEARD)
def test_the_example_of_a_hook_is_called_in_a_run(world: Path, hook: str) -> None:
    costs = json.loads((only_run(world, "hooks") / "profile.json").read_text())["plugins"]
    assert (hook, str(world / f"{hook}.py")) in [(row["did"], row["plugin"]) for row in costs]


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in HEARD])
def test_the_example_of_a_hook_brings_what_the_recipe_asks_for(world: Path, hook: str) -> None:
    kind = hook.removeprefix("engine_")
    loaded = load([world / f"{hook}.py"])
    if kind == "commands":  # which no recipe asks for: the next test calls it
        assert [each.name for each in loaded.commands() if each.plugin == str(world / f"{hook}.py")] == ["seeds"]
        return
    brought = [name for name in loaded.names(kind) if loaded.get(kind, name).plugin == str(world / f"{hook}.py")]
    used = json.loads((only_run(world, "hooks") / "profile.json").read_text())["plugins"]
    if any(row["plugin"] == str(world / f"{hook}.py") for row in used):
        return
    assert brought
    if kind == "inspections":
        assert "mean of the pictures" in (world / "printed.txt").read_text()
    else:
        assert list(world.glob(WRITTEN[kind]))


def test_the_example_of_a_command_is_called(
    engine: Command, installed: Installed, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (code,) = blocks(PAGES / "engine_commands.md", "python")
    installed("several", code)

    done = engine("seeds", toy_recipe(stage=[{**STAGE_A, "steps": 2}]), "--count", 2)

    assert done.code == 0, done.err
    figures = [read_run(run).rows[-1]["mean"]["error"] for run in (tmp_path / "runs" / "toy").iterdir()]
    assert done.out == f"error: {min(figures):.4f} .. {max(figures):.4f} over 2 seeds\n"


HEARING = """
from pathlib import Path

from engine import events
from engine.hookspecs import hookimpl


def heard(hook, kind, event):
    assert isinstance(event, kind)
    with Path("heard.txt").open("a") as file:
        file.write(hook + "\\n")


@hookimpl
def engine_run_started(event):
    heard("engine_run_started", events.RunStarted, event)


@hookimpl
def engine_stage_started(event):
    heard("engine_stage_started", events.StageStarted, event)


@hookimpl
def engine_stage_frozen(event):
    heard("engine_stage_frozen", events.StageFrozen, event)


@hookimpl
def engine_step(event):
    heard("engine_step", events.Step, event)


@hookimpl
def engine_evaluated(event):
    heard("engine_evaluated", events.Evaluated, event)


@hookimpl
def engine_gate_decided(event):
    heard("engine_gate_decided", events.GateDecided, event)


@hookimpl
def engine_checkpoint_saved(event):
    heard("engine_checkpoint_saved", events.CheckpointSaved, event)


@hookimpl
def engine_stage_finished(event):
    heard("engine_stage_finished", events.StageFinished, event)


@hookimpl
def engine_run_finished(event):
    heard("engine_run_finished", events.RunFinished, event)


@hookimpl
def engine_note(event):
    heard("engine_note", events.Note, event)
"""


def test_the_hooks_of_a_run_come_in_the_order_that_the_index_states(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "hearing.py").write_text(HEARING)
    gates = [threshold(on_fail="warn", at=at, max=9.0) for at in ("entry", "exit")]
    stages = [{**STAGE_A, "steps": 2, "gate": gates}, {**STAGE_B, "steps": 2}]
    (stated,) = blocks(INDEX, "text")

    often = {"log_every": 2, "evaluate_every": 2}

    done = engine("run", toy_recipe(plugins=[str(PLUGIN), "hearing.py"], stage=stages, train=often))

    assert done.code == 0, done.err
    heard = (tmp_path / "heard.txt").read_text().split()
    assert set(heard) == set(HEARD)
    order = [hook for hook in heard if hook != "engine_note"]
    order = [*order[: order.index("engine_stage_finished") + 1], order[-1]]  # of B, A's figures are known at the start
    once = [hook for place, hook in enumerate(order) if place == 0 or hook != order[place - 1]]
    assert [*once, "engine_note"] == re.findall(r"engine_\w+", stated)

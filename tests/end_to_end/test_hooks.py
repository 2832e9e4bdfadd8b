"""The pages in docs/hooks: one for each hook, its signature as the code has it, and the order that they state."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
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

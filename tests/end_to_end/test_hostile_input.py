"""Input of any kind through the public door: an answer, or an error in words; nothing runs wild outside the run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Outcome, WriteRecipe, only_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_world import RECIPE, STAGE_A, STAGE_B, merged, threshold, toml

from engine.cli.main import main

# `engine` holds nothing between two calls, so that examples may share it.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def told(done: Outcome, *codes: int) -> None:
    """The command ended by one of `codes`, and where not by 0, said why."""
    assert done.code in codes, done.err
    assert "Traceback" not in done.out + done.err
    assert done.code == 0 or done.err.startswith("error ") or "Error" in done.err


NAMES = ["../../x", "/etc/x", "a/b", "~nobody-here/x", "x[/red]", "n" * 300, "a\0b", "a\nb", "\x1b[2J", ".", "", "é"]
TEXTS = st.sampled_from([*NAMES, "A", "base.**", "**", "gt", "toy", "error", "builtin:x", "x.pth", "toy_plugin.py"])
VALUES = st.recursive(
    st.booleans() | st.integers(-2, 3) | st.sampled_from([2**70, -0.5, 1e300, float("inf")]) | TEXTS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "lr", "plugin"]), inner),
    max_leaves=4,
)


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> Any:
    """`whole` with one value, at any depth, replaced, left out or added."""
    if isinstance(whole, dict) and whole and draw(st.integers(0, 9)):
        key = draw(st.sampled_from([*whole, "name", "init", "extends", "damaged", "gate"]))
        if key in whole and not draw(st.integers(0, 9)):
            return {other: value for other, value in whole.items() if other != key}
        return {**whole, key: draw(changed(whole[key])) if key in whole else draw(VALUES)}
    if isinstance(whole, list) and whole and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(whole) - 1))
        return [*whole[:place], draw(changed(whole[place])), *whole[place + 1 :]]
    return draw(VALUES)


@settings(shared, max_examples=60)
@given(command=st.sampled_from(["check", "plan"]), recipe=changed(RECIPE))
def test_any_recipe_is_answered(engine: Command, tmp_path: Path, command: str, recipe: Any) -> None:
    path = tmp_path / "any.toml"
    path.write_text(toml(recipe) if isinstance(recipe, dict) else str(recipe), errors="replace")
    told(engine(command, path), 0, 1, 2)


@settings(shared, max_examples=25)
@given(content=st.one_of(st.text().map(lambda text: text.encode(errors="replace")), st.binary()))
def test_check_tells_what_is_wrong_with_any_file(engine: Command, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    told(engine("check", path), 2)


GLOBS = st.one_of(
    st.text(st.sampled_from("*?[]!-.\\{}abse"), max_size=12),
    st.lists(st.sampled_from(["**", "*", "base", "encoder", "[", "[!a]", "?*?*?*", ""]), max_size=30).map(".".join),
)


@settings(shared, max_examples=40)
@given(trainable=st.lists(GLOBS, max_size=3), frozen=st.lists(GLOBS, max_size=2))
def test_plan_answers_any_globs(
    engine: Command, toy_recipe: WriteRecipe, trainable: list[str], frozen: list[str]
) -> None:
    told(engine("plan", toy_recipe(stage=[{**STAGE_A, "trainable": trainable, "frozen": frozen}])), 0, 2)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize(
    "named",
    [
        lambda name: {"name": name},
        lambda name: {"stage": [{**STAGE_A, "name": name}]},
        lambda name: {"stage": [STAGE_A, {**STAGE_B, "init": name}]},
        lambda name: {"stage": [{**STAGE_A, "init": name + ".pth", "title": name}]},
        lambda name: {"model": {"weights": name}},
        lambda name: {"extends": name},
        lambda name: {"plugins": [*RECIPE["plugins"], name + ".py"]},
    ],
)
def test_a_name_leads_nowhere(
    engine: Command, tmp_path: Path, toy_recipe: WriteRecipe, name: str, named: Callable[[str], dict[str, Any]]
) -> None:
    told(engine("run", toy_recipe(**named(name))), 0, 1, 2)
    assert {found.name for found in tmp_path.iterdir()} <= {"toy.toml", "runs"}
    assert not list(tmp_path.parent.glob("x*"))


IDS = """
from toy_plugin import DataOptions, ToyData

from engine.errors import DamagedDataError
from engine.hookspecs import hookimpl

class Options(DataOptions):
    names: list[str]

class Named(ToyData):
    def sample(self, index, rng):
        name = self.options.names[index % len(self.options.names)].replace("NUL", chr(0))
        if index == 1:
            raise DamagedDataError(name, name, name)
        return {**super().sample(index, rng), "id": name, "scene": f"{name}{index}"}

@hookimpl
def engine_datasets(register):
    register("named", Options, Named)
"""


def test_what_samples_are_called_names_no_file(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    (tmp_path / "ids.py").write_text(IDS)
    table = {"plugin": "named", "names": [name.replace("\0", "NUL") for name in NAMES], "damaged": "skip"}
    stage = {**STAGE_A, "gate": [threshold(max=9.0)], "steps": 3}
    path = toy_recipe(stage=[stage], data={"train": table, "val": table})
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "ids.py"'))
    done = engine("run", path)
    assert done.code == 0, done.err
    assert {found.name for found in tmp_path.iterdir()} <= {"toy.toml", "ids.py", "runs", "__pycache__"}
    assert not [found for found in only_run(tmp_path).rglob("*") if len(found.name) > 60]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in its second stage."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "stopper.py").write_text(
        "import os, signal\nfrom engine.hookspecs import hookimpl\n\n@hookimpl\ndef engine_step(event):\n"
        "    if (event.stage, event.step, 'STOP' in os.environ) == ('B', 2, True):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    stages = [{**STAGE_A, "steps": 2}, {**STAGE_B, "steps": 3}]
    changes = {"stage": stages, "train": {"log_every": 1, "checkpoint_every": 1}}
    text = toml(merged(RECIPE, changes)).replace('toy_plugin.py"', 'toy_plugin.py", "stopper.py"')
    (folder / "toy.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STOP", "yes")
        patch.setattr(sys, "argv", ["engine", "run", "toy.toml"])
        with pytest.raises(SystemExit, match="5"):
            main()
    return only_run(folder)


METADATA = [
    "status.json",
    "recipe.json",
    "lock",
    "stage-A/record.json",
    "stage-A/checkpoints/latest",
    "stage-A/checkpoints/step-0000002/manifest.json",
    "stage-B/entry.json",
    "stage-B/frozen.json",
    "stage-B/checkpoints/latest",
    "stage-B/checkpoints/step-0000001/manifest.json",
]


def spoilt(draw: st.DrawFn, file: Path) -> bytes:
    content = file.read_bytes() if file.exists() else b"{}"
    if not draw(st.integers(0, 4)):
        return content[: draw(st.integers(0, len(content)))] + draw(st.binary(max_size=4))
    if file.suffix != ".json":
        return draw(st.sampled_from(NAMES)).encode()
    return json.dumps(draw(changed(json.loads(content)))).encode(errors="replace")


@settings(shared, max_examples=25)
@given(data=st.data(), part=st.sampled_from(METADATA))
def test_a_run_directory_may_say_anything(
    engine: Command, tmp_path: Path, stopped: Path, data: st.DataObject, part: str
) -> None:
    run = tmp_path / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(stopped, run)
    (run / part).write_bytes(data.draw(st.composite(spoilt)(stopped / part)))
    # What the recipe of a run says is what a run does, for as many steps as it says.
    commands = ["plan", "eval"] if part == "recipe.json" else ["run", "eval"]
    for command in commands:
        told(engine(command, run, *(["--resume"] if command == "run" else [])), 0, 1, 2)
    if part.endswith("latest"):
        told(engine("eval", stopped, "--weights", run / part), 0, 1, 2)
    assert {found.name for found in tmp_path.iterdir()} <= {"run", "runs"}


@pytest.mark.parametrize("part", ["lock", "stage-B", "events.jsonl", "stage-B/checkpoints"])
def test_a_link_in_a_run_directory_that_leads_out_of_it_is_refused(
    engine: Command, tmp_path: Path, stopped: Path, part: str
) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(stopped, run)
    place = run / part
    if place.is_dir():
        shutil.copytree(place, elsewhere)
        shutil.rmtree(place)
    else:
        elsewhere.write_text("mine")
        place.unlink(missing_ok=True)
    place.symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in [elsewhere, *elsewhere.rglob("*")] if path.is_file()}
    done = engine("run", run, "--resume")
    assert done.code == 1
    assert f"{place} is a link that leads out of the run directory" in done.err
    assert before == {path: path.read_bytes() for path in [elsewhere, *elsewhere.rglob("*")] if path.is_file()}


def test_a_link_within_a_run_directory_is_no_reason_to_refuse(engine: Command, tmp_path: Path, stopped: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    (run / "mine.safetensors").symlink_to(run / "stage-A" / "weights.safetensors")
    done = engine("run", run, "--resume")
    assert done.code == 0, done.err


def test_a_recipe_that_extends_a_link_to_itself_is_refused(engine: Command, tmp_path: Path) -> None:
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    (tmp_path / "toy.toml").write_text('extends = "loop.toml"\n')
    for path in ("toy.toml", "loop.toml"):
        told(engine("check", path), 2)

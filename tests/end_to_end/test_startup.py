"""The command line answers before anything heavy is imported."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe, only_run
from toy_world import PLUGIN, STAGE_A

from engine.commands import COMMANDS

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "s2m2_pol.toml"

TELLING = """
import sys
from engine.cli.main import main
try:
    main()
finally:
    heavy = {"torch", "torch._dynamo", "zarr", "accelerate", "numpy", "matplotlib", "cv2", "rich.markdown", "pydantic"}
    print("imported:", *sorted(heavy & set(sys.modules)), file=sys.stderr)
"""

BUILT = """
from engine.plugins import load
from pydantic import BaseModel

def under(model):
    return {model}.union(*map(under, model.__subclasses__()))

load()
print(*(model.__name__ for model in under(BaseModel) - {BaseModel} if model.__pydantic_complete__))
"""


def imported(process: Command, *arguments: object, **environment: str) -> set[str]:
    """The heavy modules that a command has imported when it is over."""
    done = process(*arguments, launcher=("-c", TELLING), **environment)
    assert done.code == 0, done.err
    return set(done.err.strip().rpartition("imported:")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_list_of_commands_imports_none_of_them(process: Command, arguments: list[str]) -> None:
    assert imported(process, *arguments) <= {"pydantic"}, "which typer reads options with"


def test_help_and_the_list_of_plugins_import_nothing_heavy(process: Command) -> None:
    assert imported(process, "run", "--help") <= {"rich.markdown", "pydantic"}
    assert imported(process, "plugins") == {"pydantic"}
    assert imported(process, "schema") == {"pydantic"}


def test_loading_the_plugins_builds_no_validator(process: Command) -> None:
    done = process(launcher=("-c", BUILT))
    assert (done.code, done.out.split()) == (0, []), done.err


def test_commands_are_completed_without_importing_them(process: Command) -> None:
    words = {"_ENGINE_COMPLETE": "complete_bash", "COMP_WORDS": "engine che", "COMP_CWORD": "1"}
    assert process(**words).out.split() == ["check", "check-feasibility"]
    assert imported(process, **words) <= {"pydantic"}


def test_the_options_of_a_command_are_completed(process: Command) -> None:
    words = {"_ENGINE_COMPLETE": "complete_bash", "COMP_WORDS": "engine data pack --w", "COMP_CWORD": "3"}
    assert process(**words).out.split() == ["--workers"]


def test_a_recipe_is_checked_without_torch_once_its_modules_are_known(engine: Command, process: Command) -> None:
    assert engine("plan", RECIPE).code == 0
    assert imported(process, "check", RECIPE) == {"pydantic"}
    assert process("check", RECIPE).out == engine("check", RECIPE).out


def test_a_plan_needs_torch_and_what_tells_the_device_of_a_run(process: Command) -> None:
    assert imported(process, "plan", RECIPE) == {"accelerate", "numpy", "pydantic", "torch"}


def test_runs_are_listed_shown_and_compared_without_torch(
    engine: Command, process: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    assert engine("run", toy_recipe(stage=[{**STAGE_A, "steps": 2}])).code == 0
    run = only_run(tmp_path)
    assert imported(process, "runs", "list") == {"pydantic"}
    assert imported(process, "runs", "show", run) == {"pydantic"}
    assert imported(process, "runs", "compare", run, run) == {"numpy", "pydantic"}


def test_every_command_is_listed_with_a_whole_line_and_can_be_called(engine: Command) -> None:
    listed = engine("--help").out
    for name, (_, line) in COMMANDS.items():
        assert f"  {name} " in listed
        assert line in listed, "shortened by typer"
        assert f"Usage: engine {name}" in engine(name, "--help").out


def test_a_command_that_is_not_there_is_answered_with_the_nearest(engine: Command) -> None:
    done = engine("evall")
    assert done.code == 2
    assert "No such command 'evall'. Did you mean 'eval'?" in done.err


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (["run", "--resum"], "(Possible options: --fresh, --resume)"),
        (["run", "--procceses"], "(Possible options: --processes)"),
        (["new", "plugin", "--ou"], "(Possible options: --out)"),
        (["run", "--dry-run"], ""),  # and not --runs, which shares the dashes with it
        (["plan", "--steps"], ""),
    ],
)
def test_an_unknown_option_is_answered_with_those_that_are_like_it(
    engine: Command, words: list[str], proposed: str
) -> None:
    done = engine(*words)
    assert done.code == 2
    assert done.err.splitlines()[-1] == f"Error: No such option: {words[-1]} {proposed}".rstrip()


def test_a_wrong_choice_is_told_with_the_right_ones(engine: Command) -> None:
    done = engine("new", "recipe", "x.toml", "--warp", "true")
    assert done.code == 2
    assert done.err.splitlines()[-1] == "Error: Invalid value for '--warp': 'true' is not one of 'gt', 'pred'."


@pytest.fixture
def outlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's outlines are kept."""
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "outlines"


def test_a_kept_outline_hides_no_mistake(engine: Command, toy_recipe: WriteRecipe, outlines: Path) -> None:
    wrong = {**STAGE_A, "trainable": ["base.haed.**"], "optimizer": {"groups": [{"match": "base.encodr", "lr": 0.1}]}}
    path = toy_recipe(stage=[wrong])
    first = engine("check", path)
    assert len(list(outlines.iterdir())) == 1
    assert first.code == 2
    assert "'base.head.**'" in first.err
    assert engine("check", path).err == first.err


def test_an_outline_that_is_damaged_or_wrong_is_made_again(
    engine: Command, toy_recipe: WriteRecipe, outlines: Path
) -> None:
    path = toy_recipe()
    good = engine("check", path)
    assert good.code == 0
    (file,) = outlines.iterdir()
    whole = file.read_text()
    for text in (
        "{",
        "{}",
        json.dumps({**json.loads(whole), "more": 1}),
        '{"modules": [], "parameters": [], "buffers": []}',
    ):
        file.write_text(text)
        assert engine("check", path) == good
        assert file.read_text() == whole


def test_a_plugin_with_other_code_has_another_outline(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, outlines: Path
) -> None:
    plugin = shutil.copy(PLUGIN, tmp_path / "changing.py")
    path = toy_recipe(plugins=[str(plugin)], stage=[{**STAGE_A, "trainable": ["base.head"]}])
    assert engine("check", path).code == 0
    Path(plugin).write_text(PLUGIN.read_text().replace("self.head", "self.tail"))
    done = engine("check", path)
    assert done.code == 2
    assert "pattern 'base.head' matches no module" in done.err
    assert len(list(outlines.iterdir())) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setitem(os.environ, "ENGINE_CACHE", str(tmp_path / "file"))
    assert engine("check", toy_recipe()).code == 0

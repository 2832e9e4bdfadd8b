"""Weights and data that are not there yet are told where the recipe names them, and no check refuses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe
from toy_world import STAGE_A

RENDERING = """
from pathlib import Path
from toy_plugin import DataOptions, ToyData
from engine.hookspecs import hookimpl

class Options(DataOptions):
    folder: Path
    cache: Path = Path("made-by-itself")

class Rendering(ToyData):
    def prepare(self, progress):
        self.options.folder.mkdir(exist_ok=True)

@hookimpl
def engine_datasets(register):
    register("rendering", Options, Rendering)
"""


@pytest.fixture
def recipe(toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    """Data in three places that are not there, and weights in two."""
    (tmp_path / "packed").mkdir()
    (tmp_path / "warm.safetensors").touch()
    return toy_recipe(
        model={"weights": "later.safetensors"},
        data={
            "train": {
                "plugin": "mix",
                "sets": [
                    {"plugin": "zarr", "probability": 0.5, "path": "pakced"},
                    {"plugin": "zarr", "probability": 0.5, "path": "packed"},
                ],
            },
            "retention": {
                "old": {"plugin": "zarr", "path": "pakced/old/set"},
                "far": {"plugin": "zarr", "url": "file:///nowhere"},
            },
        },
        stage=[{**STAGE_A, "init": "wram.safetensors"}],
    )


def places(recipe: Path) -> dict[str, str]:
    """key = value -> the file:line:column at which the recipe says it, of all that is missing."""
    lines = recipe.read_text().splitlines()
    said = ('weights = "later', 'path = "pakced"', 'path = "pakced/old', 'init = "wram')
    return {
        text: f"{recipe}:{number}:{line.index(text) + 1}"
        for text in said
        for number, line in enumerate(lines, 1)
        if text in line
    }


def told(recipe: Path, tmp_path: Path) -> list[str]:
    at = places(recipe)
    return [
        f"  not there yet: {at[said]}: there is no {what}"
        for said, what in {
            'weights = "later': f"weights file {tmp_path}/later.safetensors",
            'init = "wram': f"weights file {tmp_path}/wram.safetensors. Did you mean 'warm.safetensors'?",
            'path = "pakced/old': f"file or folder {tmp_path}/pakced/old/set. Did you mean '{tmp_path}/packed'?",
            'path = "pakced"': f"file or folder {tmp_path}/pakced. Did you mean 'packed'?",
        }.items()
    ]


@pytest.mark.parametrize("command", ["check", "plan"])
def test_what_is_missing_is_told_where_it_is_named_with_what_is_like_it(
    engine: Command, recipe: Path, tmp_path: Path, command: str
) -> None:
    done = engine(command, recipe)
    assert done.code == 0, done.err
    assert [line for line in done.out.splitlines() if "not there" in line] == told(recipe, tmp_path)


def test_it_is_in_the_documents_too(engine: Command, recipe: Path, tmp_path: Path) -> None:
    at = places(recipe)
    for found in (
        json.loads(engine("check", recipe, "--json").out)["recipes"][0],
        json.loads(engine("plan", recipe, "--json").out),
    ):
        assert [each["where"] for each in found["missing"]] == [
            at[said] for said in ('weights = "later', 'init = "wram', 'path = "pakced/old', 'path = "pakced"')
        ]
        assert found["missing"][1]["near"] == ["warm.safetensors"]


def test_a_data_set_that_makes_its_own_folder_runs(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    (tmp_path / "rendering.py").write_text(RENDERING)
    path = toy_recipe(data={"train": {"plugin": "rendering", "folder": "made"}}, stage=[{**STAGE_A, "steps": 2}])
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "rendering.py"'))
    before = engine("check", path).out
    assert f"there is no file or folder {tmp_path}/made" in before
    assert "made-by-itself" not in before, "a default is the plugin's own affair"
    assert engine("run", path).code == 0
    assert "not there yet" not in engine("check", path).out

"""The schema by which editors complete recipes takes what the engine takes, and docs/recipe.md tells the same."""

from __future__ import annotations

import json
import re
import runpy
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import tomli
from conftest import Command
from jsonschema import Draft7Validator
from toy_world import PLUGIN, RECIPE

from engine.plugins import load
from engine.recipe.json_schema import recipe_schema

ROOT = Path(__file__).parents[2]
MAIN = tomli.loads((ROOT / "recipes" / "s2m2_pol.toml").read_text())
REFERENCE = ROOT / "docs" / "make_recipe_reference.py"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    made = recipe_schema(load([PLUGIN]))
    Draft7Validator.check_schema(made)
    return made


def good(schema: dict[str, Any], recipe: dict[str, Any]) -> bool:
    return Draft7Validator(schema).is_valid(recipe)


def changed(*path: str | int, **keys: Any) -> dict[str, Any]:
    """The main recipe with keys set in the table at `path`."""
    recipe = deepcopy(MAIN)
    table: Any = recipe
    for part in path:
        table = table[part]
    table.update(keys)
    return recipe


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_good(schema: dict[str, Any], path: Path) -> None:
    assert list(Draft7Validator(schema).iter_errors(tomli.loads(path.read_text()))) == []


def test_a_plugin_that_is_a_file_is_covered(schema: dict[str, Any]) -> None:
    assert good(schema, RECIPE)
    assert not good(schema, {**RECIPE, "model": {"plugin": "toy", "widht": 4}})
    assert not good(recipe_schema(load()), RECIPE)


TABLES: list[tuple[str | int, ...]] = [
    (),
    ("model",),
    ("injection",),
    ("data",),
    ("data", "train"),
    ("train",),
    ("train", "optimizer"),
    ("train", "schedule"),
    ("train", "losses", 3),
    ("evaluate",),
    ("evaluate", "metrics", 0),
    ("stage", 1),
    ("stage", 1, "gate", 0),
    ("stage", 1, "gate", 0, "extend"),
]


@pytest.mark.parametrize("path", TABLES, ids=lambda path: ".".join(map(str, path)) or "top")
def test_a_misspelt_key_is_not_good(schema: dict[str, Any], path: tuple[str | int, ...]) -> None:
    assert not good(schema, changed(*path, misspelt=1))


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        (("model",), {"size": "nan"}),
        (("model",), {"plugin": "s2m3"}),
        (("injection",), {"max_correction": 0}),
        (("train",), {"batch_size": 0}),
        (("train",), {"clip_norm": -1}),
        (("stage", 1), {"warp": "truth"}),
        (("stage", 1), {"train": {}}),
        (("stage", 1, "gate", 0), {"check": "feasable"}),
    ],
)
def test_a_wrong_value_is_not_good(schema: dict[str, Any], path: tuple[str | int, ...], keys: dict[str, Any]) -> None:
    assert not good(schema, changed(*path, **keys))


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        (("train",), {"clip_norm": 0, "ema": 0, "evaluate_every": 0}),
        (("stage", 1), {"warp": {"from": "gt", "to": "pred", "over": 0.5}}),
        (("stage", 1), {"warp": {"gt": 0.3, "pred": 0.7}, "clip_norm": 2.0}),
        (("data",), {"retention": {"old": {"plugin": "motorcycle"}}}),
        ((), {"tracker": [{"plugin": "tensorboard"}]}),
        (
            ("data",),
            {"train": {"plugin": "mix", "sets": [{"plugin": "zarr", "path": "a.zarr", "probability": 1.0}]}},
        ),
    ],
)
def test_what_the_engine_takes_is_good(
    schema: dict[str, Any], path: tuple[str | int, ...], keys: dict[str, Any]
) -> None:
    assert good(schema, changed(*path, **keys))


def test_options_of_a_set_within_a_mix_are_checked(schema: dict[str, Any]) -> None:
    wrong = [{"plugin": "zarr", "paht": "a.zarr", "probability": 1.0}]
    assert not good(schema, changed("data", train={"plugin": "mix", "sets": wrong}))


def test_only_a_recipe_that_extends_another_may_be_a_part_of_one(schema: dict[str, Any]) -> None:
    part = {"model": {"size": "S"}, "stage": [{"name": "B", "steps": 2}], "injection": {"width": 8}}
    assert good(schema, {"extends": "s2m2_pol.toml", **part})
    assert not good(schema, part)
    assert not good(schema, {"extends": "s2m2_pol.toml", "model": {"sise": "S"}})
    without_steps = changed("stage", 0)
    del without_steps["stage"][0]["steps"]
    assert not good(schema, without_steps)


def test_every_key_that_the_engine_reads_is_explained(schema: dict[str, Any]) -> None:
    tables = {"": schema, **{name: part for name, part in schema["$defs"].items() if not re.search("[.:]", name)}}
    silent = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, value in table.get("properties", {}).items()
        if not value.get("description")
    ]
    assert silent == []


def test_the_command_prints_it(engine: Command, schema: dict[str, Any]) -> None:
    done = engine("schema", PLUGIN)
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads(json.dumps(schema))


def test_the_reference_is_that_of_the_schema() -> None:
    script = runpy.run_path(str(REFERENCE))
    assert script["PAGE"].read_text() == script["page"](load()), "python docs/make_recipe_reference.py writes it"

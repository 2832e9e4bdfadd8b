"""The public API is named in one place, and plugins that are made for another version are told so."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Command, WriteRecipe

from engine import api, hookspecs
from engine.hookspecs import hookimpl
from engine.plugins import Plugins

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", api.PUBLIC)
def test_what_is_named_is_there_once_and_in_order(module: str) -> None:
    names = api.PUBLIC[module]
    assert all(hasattr(import_module(module), name) for name in names)
    assert list(names) == sorted(set(names))


def test_every_hook_event_error_and_contract_is_public() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("engine_")}
    assert hooks <= {*api.PUBLIC["engine.hookspecs"]}
    for module in ("engine.contracts", "engine.events", "engine.errors", "engine.prediction"):
        own = (
            name for name, value in vars(import_module(module)).items() if getattr(value, "__module__", "") == module
        )
        assert {name for name in own if not name.startswith("_")} <= {*api.PUBLIC[module]}


def imports(file: Path) -> set[tuple[str, str]]:
    """(module, name) of everything that a file takes from the engine."""
    tree = ast.parse(file.read_text())
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {(n.module, alias.name) for n in taken if n.module.split(".")[0] == "engine" for alias in n.names}


@pytest.mark.parametrize("folder", ["plugins", "docs/examples"])
def test_plugins_and_examples_use_nothing_else(folder: str) -> None:
    modules = {("engine", name.removeprefix("engine.")) for name in api.PUBLIC}
    named = {(module, name) for module, names in api.PUBLIC.items() for name in names}
    taken = {each for file in sorted((ROOT / folder).rglob("*.py")) for each in imports(file)}
    assert taken
    assert taken <= named | modules


def refused(**module: Any) -> str:
    loaded = Plugins()
    loaded.add_installed("thermal", "thermal 2.0", lambda: SimpleNamespace(engine_losses=losses, **module))
    assert bool(loaded.names("losses")) != bool(loaded.broken)
    return "".join(loaded.broken)


@hookimpl
def losses(register: Any) -> None:
    from toy_plugin import Options, ToyLoss

    register("square", Options, ToyLoss)


def test_a_plugin_for_this_version_or_for_none_is_taken() -> None:
    assert refused() == ""
    assert refused(ENGINE_API=api.VERSION) == ""


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (
            api.VERSION + 1,
            "it is made for version 2 of the engine's API, and this engine has version 1; install a newer",
        ),
        (api.VERSION - 1, "install a version of the plugin that is made for this engine"),
        ("1", "ENGINE_API is '1'; expected a whole number such as 1"),
    ],
)
def test_a_plugin_for_another_version_is_refused_in_a_sentence(version: Any, says: str) -> None:
    told = refused(ENGINE_API=version)
    assert told.startswith("plugin 'thermal' (thermal 2.0) could not be loaded: ")
    assert says in told


def test_a_file_for_another_version_is_a_mistake_in_the_recipe(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "thermal.py").write_text("ENGINE_API = 7\n")
    done = engine("check", toy_recipe(plugins=["thermal.py"]))
    assert done.code == 2
    assert "toy.toml:2" in done.err
    assert "made for version 7 of the engine's API" in done.err

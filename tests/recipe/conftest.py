"""A folder with the toy recipe and its plugin file, and a way to load it changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.recipe import Recipe, load_recipe
from recipe.toy import PLUGIN, RECIPE

Load = Callable[..., Recipe]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: it holds the plugin file and recipe.toml."""
    (tmp_path / "toy_plugin.py").write_text(PLUGIN)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Load:
    """load(old, new, ..., overrides=[...]): the recipe with each `old` replaced by the `new` after it."""

    def load(*changes: str, overrides: tuple[str, ...] = ()) -> Recipe:
        text = RECIPE
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert text.count(old) >= 1, f"the recipe has no {old!r}"
            text = text.replace(old, new, 1)
        (folder / "recipe.toml").write_text(text)
        return load_recipe("recipe.toml", overrides)

    return load

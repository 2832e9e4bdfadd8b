"""What a frozen base answers depends on its code and on files that its options name; an edit makes another store."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Command, WriteRecipe
from test_frozen_cache import CACHED, QUIET
from toy_world import PLUGIN, STAGE_B


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's outputs are kept."""
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "frozen"


CONFIGURED = """
from pathlib import Path

from engine.hookspecs import hookimpl
from engine.prediction import Prediction
from toy_plugin import BaseOptions, ToyBase


class Options(BaseOptions):
    config: Path


class Configured(ToyBase):
    def __init__(self, options):
        super().__init__(options)
        self.factor = float(options.config.read_text())

    def forward(self, batch):
        return Prediction(self.factor * super().forward(batch).value)


@hookimpl
def engine_models(register):
    register("configured", Options, Configured, target="target")
"""


def test_an_edited_file_that_the_model_names_makes_another_store(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "configured.py").write_text(CONFIGURED)
    alone = {**STAGE_B, "cache": "on"}
    del alone["init"]  # so that the base's weights are the same
    model = {"plugin": "configured", "config": "factor"}
    recipe = toy_recipe(**QUIET, plugins=[str(PLUGIN), "configured.py"], model=model, stage=[alone])
    for factor in ("1.0", "2.0"):
        (tmp_path / "factor").write_text(factor)
        assert engine("run", recipe).code == 0
    assert len(list(cache.glob("*.zarr"))) == 2


def test_an_edited_plugin_makes_another_store(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, cache: Path
) -> None:
    recipe = toy_recipe(**CACHED)
    edited = tmp_path / "edited.py"
    recipe.write_text(recipe.read_text().replace(str(PLUGIN), str(edited)))
    for line in ("", "# the same class, which may answer otherwise now\n"):
        edited.write_text(PLUGIN.read_text() + line)
        assert engine("run", recipe).code == 0
    assert len(list(cache.glob("*.zarr"))) == 2

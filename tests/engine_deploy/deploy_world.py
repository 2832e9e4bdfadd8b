"""A toy run to take elsewhere."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command
from forked import Outcome
from pydantic import BaseModel
from torch import nn
from toy_world import RECIPE, STAGE_A, STAGE_B, merged, toml

import engine
from engine.hookspecs import hookimpl
from engine.prediction import Batch, Prediction

SHORT: dict[str, Any] = {
    "plugins": [*RECIPE["plugins"], __file__],
    "model": {"plugin": "wide"},
    "data": {"val": {"count": 3, "size": 8}},
    "stage": [{**STAGE_A, "steps": 4}, {**STAGE_B, "steps": 2}],
}


class WideOptions(BaseModel):
    """hidden: units of the perceptron. rounds: how often it is applied. trap: what an exporter meets."""

    hidden: int = 24
    rounds: int = 1
    trap: str = ""


class Wide(nn.Module):
    """A convolution, then a perceptron for each pixel: what can be pruned, narrowed and quantised."""

    def __init__(self, options: WideOptions) -> None:
        super().__init__()
        self.trap, self.iterations = options.trap, options.rounds
        self.encoder = nn.Conv2d(1, 16, 3, padding=1)
        self.mlp = nn.Sequential(nn.Linear(16, options.hidden), nn.GELU(), nn.Linear(options.hidden, 16))
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, batch: Batch) -> Prediction:
        seen = self.encoder(batch["image"])
        for _ in range(self.iterations):
            seen = seen + self.mlp(seen.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        value = self.head(seen)
        if self.trap in ("lies", "void") and torch.compiler.is_compiling():
            value = value + (0.01 if self.trap == "lies" else float("nan"))
        if self.trap == "branches" and bool((batch["image"] > 9).any()):
            value = -value
        return Prediction(value, confidence=torch.sigmoid(value))


@hookimpl
def engine_models(register: Any) -> None:
    register("wide", WideOptions, Wide, target="target")


def write_recipe(folder: Path, **changes: Any) -> Path:
    path = folder / "toy.toml"
    path.write_text(toml(merged(merged(RECIPE, SHORT), changes)))
    return path


def trained(folder: Path, **changes: Any) -> Path:
    """The directory of a finished run."""
    return engine.run(engine.load_recipe(write_recipe(folder, **changes)), runs=folder / "runs").path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a toy recipe has trained."""
    return trained(tmp_path_factory.mktemp("run"))


@pytest.fixture
def deploy(engine: Command) -> Command:
    """deploy("export", run, file): a command of the package."""
    return partial(engine, "deploy")


def rows(done: Outcome) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)["rows"]
    return found

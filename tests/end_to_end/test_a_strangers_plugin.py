"""Somebody else's injection: one short file beside the recipe, through the same door as what the engine ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe, events_of, only_run
from toy_world import STAGE_A, STAGE_B, threshold

PLUGIN = '''
"""A correction that learns one number for each sign of the signal."""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from engine.hookspecs import hookimpl


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: float = Field(default=0.8, gt=0)
    steepness: float = 1.0


class TwoNumbers(nn.Module):
    signal = ("signal",)
    zero_init = True

    def __init__(self, options):
        super().__init__()
        self.bound, self.steepness = options.limit, options.steepness
        self.table = nn.Parameter(torch.zeros(2))

    def forward(self, batch, base, alignment):
        raw = self.steepness * self.table[(batch["signal"] > 0.5).long()]
        return base.corrected(self.bound * torch.tanh(raw), raw)

    def correctable(self, batch):
        return batch["valid"]


@hookimpl
def engine_injections(register):
    register("two-numbers", Options, TwoNumbers)
'''


@pytest.fixture
def recipe(toy_recipe: WriteRecipe, tmp_path: Path) -> WriteRecipe:
    assert len(PLUGIN.strip().splitlines()) <= 60
    (tmp_path / "their").mkdir()
    (tmp_path / "their" / "numbers.py").write_text(PLUGIN)

    def write(**changes: object) -> Path:
        stages = [STAGE_A, {**STAGE_B, "steps": 40, "gate": [threshold(max=0.6)]}]
        path = toy_recipe(stage=stages, **changes)
        text = path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "their/numbers.py"')
        path.write_text(text.replace('injection = { plugin = "toy"', 'injection = { plugin = "two-numbers"', 1))
        return path

    return write


def test_it_is_listed_with_where_it_comes_from(engine: Command, recipe: WriteRecipe) -> None:
    recipe()
    listed = json.loads(engine("plugins", "their/numbers.py", "--json").out)
    (found,) = [each for each in listed["brought"] if each["name"] == "two-numbers"]
    assert found["kind"] == "injections"
    assert found["plugin"].endswith("their/numbers.py")
    assert found["options"]["properties"]["limit"]["default"] == 0.8


def test_a_mistake_in_its_options_is_located(engine: Command, recipe: WriteRecipe) -> None:
    path = recipe(injection={"limt": 0.5, "steepness": "high"})
    done = engine("check", path)
    assert done.code == 2
    row = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if "limt" in text)
    unknown, wrong = (line for line in done.err.splitlines() if line.startswith("error"))
    assert f"{path}:{row}:" in unknown
    assert "'limit'" in unknown
    assert f"{path}:{row}:" in wrong
    assert "steepness" in wrong


def test_it_trains_lowers_the_error_and_passes_its_gate(engine: Command, recipe: WriteRecipe, tmp_path: Path) -> None:
    done = engine("run", recipe(train={"optimizer": {"lr": 0.05}}))
    assert done.code == 0, done.out + done.err
    run = only_run(tmp_path)
    (gate,) = events_of(run, "gate_decided")
    assert gate["verdict"]["status"] == "pass"
    after = [event["evaluation"] for event in events_of(run, "evaluated") if event["stage"] == "B"][-1]
    assert after["mean"]["error"] < after["base_mean"]["error"] - 0.05
    provenance = json.loads((run / "provenance.json").read_text())
    assert any(name.endswith("their/numbers.py") for name in provenance["plugins"])

"""A step whose numbers are not finite: found before the optimiser, its batch kept, the first bad number named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from toy_world import STAGE_A

from engine.data.loader import Order
from engine.training.review import wild_fields

WILD = '''
"""Losses and a model that go wrong on the sample train-3 alone."""
import torch
from pydantic import BaseModel
from engine.hookspecs import hookimpl
from engine.prediction import Prediction

class Options(BaseModel):
    pass

def bad(batch):
    return "train-3" in batch["id"]

class NanLoss:
    def __init__(self, options):
        pass
    def __call__(self, prediction, batch):
        return (prediction.value - batch["target"]).square().mean() * (float("nan") if bad(batch) else 1.0)

class SteepLoss:
    """Finite, but its slope at 0 is not."""
    def __init__(self, options):
        pass
    def __call__(self, prediction, batch):
        error = (prediction.value - batch["target"]).square().mean()
        return error + ((0 * error).sqrt() if bad(batch) else 0 * error)

class WildBase(torch.nn.Module):
    def __init__(self, options):
        super().__init__()
        self.head = torch.nn.Conv2d(1, 1, 1)
    def forward(self, batch):
        return Prediction(value=self.head(batch["image"]) * (float("inf") if bad(batch) else 1.0))

@hookimpl
def engine_losses(register):
    register("nan", Options, NanLoss)
    register("steep", Options, SteepLoss)

@hookimpl
def engine_models(register):
    register("wild", Options, WildBase, target="target")
'''


BAD = next(step for step in range(6) if 3 in [index for _, index in Order(24, 4, 0, "A").draws(step)])
"""The step of stage A that draws the sample train-3."""


@pytest.fixture
def wild(toy_recipe: WriteRecipe, tmp_path: Path) -> WriteRecipe:
    (tmp_path / "wild.py").write_text(WILD)

    def write(**changes: Any) -> Path:
        path = toy_recipe(**{"stage": [STAGE_A], **changes})
        path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "wild.py"'))
        return path

    return write


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"data": {"train": {"spoil": 3}}},
            "loss not finite at step {step} (so are the data: field 'image' in train-3)",
        ),
        ({"train": {"losses": [{"name": "nan"}]}}, "(first in the loss 'nan'; the data are finite)"),
        ({"train": {"losses": [{"name": "steep"}]}}, "gradient not finite at step {step};"),
        ({"model": {"plugin": "wild"}}, "(first in the base's prediction; the data are finite)"),
    ],
)
def test_the_first_number_that_is_not_finite_is_named(
    engine: Command, wild: WriteRecipe, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    done = engine("run", wild(**changes))
    assert done.code == 3
    text = " ".join(done.err.split())
    assert words.format(step=BAD) in text
    assert "train-3" in text
    kept = only_run(tmp_path) / "stage-A" / f"nonfinite-step-{BAD}.pt"
    (batch,) = torch.load(kept, weights_only=True)
    assert "train-3" in batch["id"]
    assert batch["image"].shape == (4, 1, 8, 8)


def test_every_skipped_step_keeps_its_batch_and_is_counted_and_norms_stay_finite(
    engine: Command, wild: WriteRecipe, tmp_path: Path
) -> None:
    train = {"nonfinite": {"policy": "skip"}, "accumulate": 2}
    path = wild(model={"norm": True}, data={"train": {"spoil": 3}}, train=train)
    assert engine("run", path).code == 0
    run = only_run(tmp_path)
    notes = [event for event in events_of(run, "note") if event["level"] == "warning"]
    assert notes
    for note in notes:
        assert "train-3" in note["details"]["samples"]
        batches = torch.load(run / "stage-A" / Path(note["details"]["file"]).name, weights_only=True)
        assert [name for batch in batches for name in batch["id"]] == note["details"]["samples"]
    assert events_of(run, "step")[-1]["skipped"] == len(notes)
    assert all(torch.isfinite(value).all() for value in weights_of(run, "A").values()), "statistics of norms too"


def test_fields_that_hold_no_numbers_or_no_names_are_passed_by() -> None:
    batch = {"a": torch.tensor([1.0, float("nan")]), "mask": torch.ones(2, dtype=torch.bool), "scene": ["x", "y"]}
    assert wild_fields(batch) == ["'a'"]
    assert wild_fields({**batch, "id": ["x", "y"]}) == ["'a' in y"]

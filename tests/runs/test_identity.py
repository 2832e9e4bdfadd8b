"""Two runs are compared bit by bit, and the first difference is named with its size."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.runs.identity import Difference, StageComparison, compare

STEP = {
    "event": "step",
    "stage": "A",
    "terms": {"square": 0.5},
    "gradient_norm": 1.0,
    "learning_rate": 0.1,
    "skipped": 0,
}


def run(folder: Path, losses: dict[int, list[float]], value: torch.Tensor, error: float | None = 0.25) -> Path:
    """A run directory with one stage of one tensor, an event for each loss of each step, and one evaluation."""
    (folder / "stage-A").mkdir(parents=True)
    steps = [STEP | {"step": step, "loss": loss, "time": 7.0} for step, made in losses.items() for loss in made]
    lines = [json.dumps(event) for event in [{"event": "note", "text": "?"}, *steps]]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    save_file({"head": value}, folder / "stage-A" / "weights.safetensors")
    if error is not None:
        (folder / "stage-A" / "evaluation-after-off.json").write_text(json.dumps({"mean": {"error": error}}))
    return folder


def compared(tmp_path: Path, losses: dict[int, list[float]], value: Any, **more: Any) -> StageComparison:
    one = run(tmp_path / "one", {1: [0.5], 2: [0.25]}, torch.tensor([0.0, math.nan]))
    return compare("A", one, run(tmp_path / "other", losses, value, **more))


def test_the_same_bits_are_identical_and_a_step_made_twice_counts_twice(tmp_path: Path) -> None:
    found = compared(tmp_path, {1: [0.5], 2: [0.25, 0.25]}, torch.tensor([0.0, math.nan]))
    assert found.identical
    assert (found.steps, found.evaluations, found.tensors) == (3, 1, 1)


def test_a_step_that_was_made_again_differently_is_named(tmp_path: Path) -> None:
    found = compared(tmp_path, {1: [0.5], 2: [0.25, 0.375]}, torch.tensor([0.0, math.nan]))
    what = "loss is 0.375, and 0.25 in the untouched run"
    assert found.differences == [Difference("step", "2", what, 0.125)]


def test_a_lost_step_and_a_lost_evaluation_are_named(tmp_path: Path) -> None:
    found = compared(tmp_path, {1: [0.5]}, torch.tensor([0.0, math.nan]), error=None)
    assert [each.name for each in found.of("step")] == ["2"]
    assert [each.name for each in found.of("evaluation")] == ["after-off"]
    assert found.of("tensor") == []


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (torch.tensor([-0.0, math.nan]), 0.0),
        (torch.tensor([0.0, math.nan], dtype=torch.float64), None),
        (torch.tensor([0.0]), None),
        (torch.tensor([0.0, 1.0]), 0.0),
        (torch.tensor([0.5, math.nan]), 0.5),
    ],
)
def test_another_value_sign_of_zero_type_or_shape_is_a_difference(
    tmp_path: Path, value: Any, size: float | None
) -> None:
    found = compared(tmp_path, {1: [0.5], 2: [0.25]}, value)
    (difference,) = found.differences
    assert (difference.kind, difference.name) == ("tensor", "head")
    assert difference.size == size


def test_an_evaluation_tells_which_figure_differs(tmp_path: Path) -> None:
    found = compared(tmp_path, {1: [0.5], 2: [0.25]}, torch.tensor([0.0, math.nan]), error=0.5)
    what = "mean error is 0.5, and 0.25 in the untouched run"
    assert found.differences == [Difference("evaluation", "after-off", what, 0.25)]

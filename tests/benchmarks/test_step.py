"""The measurement of a step: what its table says of figures; the engine's part of it is a recipe that loads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Imported

from engine.recipe import load_recipe


@pytest.fixture
def step(imported: Imported) -> SimpleNamespace:
    """The scripts of benchmarks/step."""
    return imported("step", "measure", "ours", "page", "work")


def measured(step: SimpleNamespace, ours: Sequence[float], other: Sequence[float], weights: float = 1.0) -> object:
    """The plain loop at 200 us a step, and a round for each figure of the engine and of ignite, both bare."""
    names = {step.measure.PLAIN.trainer: [200.0] * len(ours), step.measure.OURS: ours, "ignite": other}
    rows = [row for row in step.measure.ROWS if row.trainer in names and row.setting == step.measure.BARE]
    made = step.measure.Measurement(rows, (), Path())
    for row in rows:
        made.figures[row, 0] = [
            {
                "multiple": value / 200,
                "plain": 200.0,
                "megabytes": 1.0,
                "weights": weights if row.trainer == "ignite" else 1.0,
            }
            for value in names[row.trainer]
        ]
    return made


def test_a_trainer_is_the_lowest_only_where_it_is_so_in_that_round(step: SimpleNamespace) -> None:
    (bare,) = step.measure.verdicts(measured(step, ours=[203, 204, 230], other=[210, 203, 240]))
    assert "lowest of the trainers in 2 of 3 rounds" in bare
    assert "+4.0 us is within the 5 us" in bare


def test_a_limit_that_is_missed_is_told(step: SimpleNamespace) -> None:
    (bare,) = step.measure.verdicts(measured(step, ours=[206, 209, 207], other=[300, 300, 300]))
    assert "+7.0 us is **beyond** the 5 us" in bare


def test_every_round_is_in_the_table(step: SimpleNamespace) -> None:
    table = step.measure.steps_table(measured(step, ours=[199, 204, 290], other=[210, 203, 240]))
    assert any(line.startswith("| this engine | bare | +4 (-1 .. +90) | -1 |") for line in table)


def test_a_trainer_that_did_other_work_is_not_compared(step: SimpleNamespace) -> None:
    measured(step, [200], [210]).check()
    with pytest.raises(SystemExit, match="ignite, bare did other work"):
        measured(step, [200], [210], weights=1.01).check()


def test_a_table_replaces_what_stands_between_its_marks(step: SimpleNamespace) -> None:
    begin, end = "<!-- one: begin -->", "<!-- one: end -->"
    page = f"before\n{begin}\nold\n{end}\n<!-- two: begin -->"
    assert step.page.replaced(page, "one", "new\n") == f"before\n{begin}\n\nnew\n\n{end}\n<!-- two: begin -->"
    with pytest.raises(SystemExit, match="no marks"):
        step.page.replaced(page, "two", "new")


@pytest.mark.parametrize("setting", ["bare", "as shipped", "as shipped, every step clipped"])
def test_the_engine_is_measured_by_a_recipe_that_loads(step: SimpleNamespace, tmp_path: Path, setting: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(step.ours.recipe(step.work.Run(setting, 10, tmp_path)))

    train = load_recipe(path, []).stages[0].train

    bare = setting == step.work.BARE
    assert (train.nonfinite.policy, train.log_every) == (("off", step.work.STEPS) if bare else ("stop", 10))
    assert len(list(tmp_path.glob("listener_*.py"))) == (0 if bare else step.ours.LISTENERS)

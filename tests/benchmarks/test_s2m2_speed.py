"""The measurement of the S2M2 network measures what its tables name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from conftest import Imported


@pytest.fixture
def scripts(imported: Imported) -> SimpleNamespace:
    """The scripts of benchmarks/s2m2."""
    return imported("s2m2", "measure", "s2m2_cell")


def test_every_switch_of_the_table_is_a_step_that_can_be_taken(scripts: SimpleNamespace) -> None:
    assert [*scripts.measure.SWITCHES, scripts.measure.COMPILED[1]] == list(scripts.s2m2_cell.STEPS)
    step = scripts.s2m2_cell.Step("nano")
    before = {name: value.clone() for name, value in step.model.named_parameters()}
    step(scripts.s2m2_cell.pair(64, 96))
    still = [name for name, value in step.model.named_parameters() if torch.equal(value, before[name])]
    assert still == [], "every parameter has a gradient"


def test_ratios_are_taken_within_rounds(scripts: SimpleNamespace) -> None:
    slow = scripts.measure.Row("slow", seconds=[4.0, 8.0, 40.0], peaks=[10.0] * 3)
    fast = scripts.measure.Row("fast", seconds=[2.0, 4.0, 10.0], peaks=[5.0] * 3)
    assert "| fast | 4 | 2.00 (2.00-4.00) | 5 |" in scripts.measure.table([slow, fast], {})

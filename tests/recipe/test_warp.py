"""Whose disparity aligns the auxiliary signal, as a probability over a stage."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("written", "start", "quarter", "end"),
    [
        ('"gt"', 1, 1, 1),
        ('"pred"', 0, 0, 0),
        ("{ gt = 0.25, pred = 0.75 }", 0.25, 0.25, 0.25),
        ('{ from = "gt", to = "pred", over = 0.5 }', 1, 0.5, 0),
        ('{ from = "pred", to = "gt", over = 1.0 }', 0, 0.25, 1),
        ('{ from = "gt", to = "gt", over = 1 }', 1, 1, 1),
    ],
)
def test_the_share_of_ground_truth_over_a_stage(load, written: str, start: float, quarter: float, end: float) -> None:
    warp = load('warp = "gt"', f"warp = {written}").stages[1].warp

    assert [warp.gt_share(progress) for progress in (0, 0.25, 1)] == [start, quarter, end]


@pytest.mark.parametrize("written", ['"gt"', '"pred"'])
def test_a_fixed_source_is_kept_as_its_word(load, written: str) -> None:
    recipe = load('warp = "gt"', f"warp = {written}")

    assert recipe.resolved()["stage"][1]["warp"] == written.strip('"')

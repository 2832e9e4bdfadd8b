from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.gates.decision import decide, design_rule, judge
from engine.gates.feasibility import FeasibilityReport, Settings
from engine.gates.residuals import Residuals

from .made import drawn, laplace, one_sided, residuals, same

SETTINGS = Settings(unit="px", bound_option="max_correction")


def verdict(data: Residuals, bound: float, **settings: object) -> FeasibilityReport:
    return judge(data, bound, replace(SETTINGS, **settings))


def because(report: FeasibilityReport) -> str:
    return "\n".join(report.decision.reasons)


def test_a_symmetric_residual_within_the_bound_passes() -> None:
    report = verdict(drawn(laplace(0.6)), 4.0)
    assert report.decision.status == "pass"
    assert report.figures.equal.structure == pytest.approx(1.0, abs=0.01)
    assert report.decision.advice == ""
    assert len(report.decision.reasons) == 4


def test_every_figure_of_a_residual_that_can_be_computed_by_hand() -> None:
    report = verdict(same({1.0: 0.5, -1.0: 0.3, 5.0: 0.2}), 2.0)
    equal, pooled = report.figures.equal, report.figures.pooled
    assert equal == pooled
    assert equal.error == pytest.approx(1.8)
    assert equal.median == 1.0
    assert equal.q90 == 5.0
    assert equal.coverage == pytest.approx(0.8)
    assert equal.outside == pytest.approx(0.2)
    assert equal.bias == pytest.approx(1.2)
    assert equal.oracle == pytest.approx(0.6)
    assert equal.reach == pytest.approx(2 / 3)
    assert equal.constant == 1.0
    assert equal.constant_error == pytest.approx(1.4)
    assert equal.structure == pytest.approx(0.8 / 1.2)
    assert report.figures.bound_needed == pytest.approx(5.0 / 0.9)
    assert report.figures.bound_for_half == pytest.approx(0.9)


def test_a_bound_equal_to_the_base_error_holds_and_one_below_fails() -> None:
    data = same({1.5: 0.5, -1.5: 0.5})
    assert "holds" in design_rule(verdict(data, 1.5).figures, SETTINGS)
    assert verdict(data, 1.5).decision.status == "fail", "every residual lies beyond 0.9 of the bound"
    assert "coverage is at most 0.00" in because(verdict(data, 1.5))
    below = verdict(data, 1.4999)
    assert "bound 1.4999 px >= E0 (mean |r|) 1.5 px fails" in because(below)
    just = same({1.0: 0.45, -1.0: 0.45, 10.0: 0.1})
    assert verdict(just, 1.9).decision.status == "pass", "all limits are met exactly"
    assert verdict(just, 1.89).decision.status == "fail"


def test_a_heavy_tail_fails_the_rule_by_the_mean_and_says_so() -> None:
    data = same({0.2: 0.44, -0.2: 0.44, 20.0: 0.12})
    report = verdict(data, 2.0)
    assert report.decision.status == "fail"
    assert "fails by the tail: 88 % of pixels are inside the bound" in because(report)
    restated = verdict(data, 2.0, statistic="median")
    assert restated.decision.status == "warn"
    assert any("E0 (mean |r|)" in note for note in restated.decision.notes), "the mean rule is still told"
    by_quantile = verdict(data, 2.0, statistic="q90")
    assert "Q90 of |r| 20 px" in because(by_quantile)


def test_coverage_certainly_below_seventy_percent_fails() -> None:
    data = same({0.5: 0.3, -0.5: 0.3, 3.8: 0.2, -3.8: 0.2})
    report = verdict(data, 4.0)
    assert report.figures.coverage_high == pytest.approx(0.6)
    assert report.decision.status == "fail"
    assert "coverage is at most 0.60" in because(report)
    assert "design rule" not in because(report)
    assert "raise the bound from 4 to 4.3 px (injection option max_correction), which is not free" in (
        report.decision.advice
    )
    assert "Q90 <= 3.6 px" in report.decision.advice


def test_coverage_between_the_limits_warns() -> None:
    report = verdict(same({0.5: 0.4, -0.5: 0.4, 3.8: 0.1, -3.8: 0.1}), 4.0)
    assert report.decision.status == "warn"
    assert "coverage is certain only to 0.8" in because(report)


def test_a_residual_that_is_one_constant_fails_although_it_is_in_range() -> None:
    report = verdict(drawn(one_sided(1.0, 0.1)), 2.0)
    assert report.figures.equal.structure < 0.25
    assert report.decision.status == "fail"
    assert "structure κ" in because(report)
    assert "bias of 1.1 px" in report.decision.advice


def test_structure_between_the_limits_warns() -> None:
    report = verdict(same({1.0: 0.7, 0.0: 0.3}), 2.0)
    assert report.figures.equal.structure == pytest.approx(0.3 / 0.7)
    assert report.decision.status == "warn"
    assert because(report).startswith("structure κ 0.429 < 0.50")


def test_error_mass_beyond_the_bound_warns_through_reach() -> None:
    report = verdict(same({0.2: 0.48, -0.2: 0.48, 20.0: 0.04}), 2.0)
    assert report.figures.equal.reach < 0.5
    assert report.decision.status == "warn"
    assert "most of the error lies beyond the bound" in because(report)
    assert "raise the bound from 2 to" in report.decision.advice


def test_a_one_sided_law_out_of_range_fails_by_structure_and_a_symmetric_one_does_not() -> None:
    lopsided = verdict(drawn(one_sided(2.0, 1.0)), 2.0)
    balanced = verdict(drawn(lambda rng, n: rng.choice([-1, 1], n) * (2.0 + rng.exponential(1.0, n))), 2.0)
    assert lopsided.figures.equal.coverage == balanced.figures.equal.coverage == 0.0
    assert lopsided.figures.equal.structure < 0.05
    assert balanced.figures.equal.structure > 0.95
    assert "structure" in because(lopsided)
    assert "structure" not in because(balanced)


def test_a_mixture_of_right_and_locked_pixels_keeps_its_structure() -> None:
    def law(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.where(rng.random(n) < 0.6, rng.laplace(0, 0.2, n), 1.0 + rng.exponential(0.8, n))

    report = verdict(drawn(law), 4.0)
    assert report.figures.equal.structure > 0.7
    assert report.decision.status == "pass"


def test_a_small_base_error_leaves_nothing_to_gain() -> None:
    report = verdict(same({0.05: 0.5, -0.05: 0.5}), 1.0)
    assert report.decision.status == "nothing-to-gain"
    assert "E0 0.05 px is under 0.1 px" in because(report)
    assert verdict(same({0.05: 0.5, -0.05: 0.5}), 1.0, negligible=0.01).decision.status == "pass"


def test_an_unreachable_error_leaves_nothing_to_gain() -> None:
    report = verdict(same({0.0: 0.99, 15.0: 0.01}), 0.5)
    assert report.decision.status == "nothing-to-gain"
    assert "gains 0.005 px, under 0.02 px" in because(report)


def test_nothing_to_gain_does_not_excuse_the_design_rule() -> None:
    report = verdict(same({0.05: 0.5, -0.05: 0.5}), 0.01)
    assert report.decision.status == "fail"
    assert "structure" not in because(report)


def test_a_perfect_base_has_neither_reach_nor_structure() -> None:
    report = verdict(same({0.0: 1.0}), 1.0)
    assert (report.figures.equal.reach, report.figures.equal.structure) == (0.0, 0.0)
    assert report.decision.status == "nothing-to-gain"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (same({1.0: 0.5, -1.0: 0.5}, count=29), "29 usable images, 30 are needed"),
        (residuals([np.tile([1.0, -1.0], 500)] * 40, ["a", "b"] * 20), "2 scenes, 10 are needed"),
        (residuals([np.tile([1.0, -1.0], 250)] * 39), "19500 usable pixels together, 20000 are needed"),
        (residuals([np.tile([1.0, -1.0], 249)] * 40), "0 usable images (40 more have under 500 usable pixels)"),
    ],
)
def test_too_little_data_decides_nothing(data: Residuals, words: str) -> None:
    report = verdict(data, 2.0)
    assert report.decision.status == "undetermined"
    assert words in because(report)
    assert "30 images" in report.decision.advice
    if data.images:
        assert "taken alone these images would say" in report.decision.notes[0]


def test_data_without_scene_names_are_judged_by_images() -> None:
    report = verdict(residuals([np.tile([1.0, -1.0], 500)] * 40, [""] * 40), 2.0)
    assert report.figures.scenes is None
    assert report.decision.status == "pass"
    assert any("do not name scenes" in note for note in report.decision.notes)


def test_images_with_few_pixels_are_dropped_and_counted() -> None:
    data = residuals([np.tile([1.0, -1.0], 500)] * 40 + [np.full(499, 99.0)] * 3)
    report = verdict(data, 2.0)
    assert (report.figures.images, report.figures.dropped) == (40, 3)
    assert report.figures.equal.error == 1.0
    assert any("3 images" in note for note in report.decision.notes)


def test_predictions_that_are_not_finite_fail_by_themselves() -> None:
    image = np.tile([1.0, -1.0], 500)
    image[:2] = np.nan
    report = verdict(residuals([image] * 40), 2.0)
    assert report.figures.nonfinite == 80
    assert report.decision.status == "fail"
    assert "not finite at 80 of 40000 pixels (0.2 %, allowed 0.1 %)" in because(report)
    assert report.figures.equal.coverage == pytest.approx(0.998)
    assert report.figures.equal.error == 1.0
    few = verdict(residuals([image] * 5), 2.0)
    assert few.decision.status == "fail", "broken predictions need no sample size"


def test_a_few_predictions_that_are_not_finite_count_as_out_of_reach() -> None:
    clean, image = np.tile([1.0, -1.0], 500), np.tile([1.0, -1.0], 500)
    image[0] = np.inf
    report = verdict(residuals([clean] * 20 + [image] * 20), 2.0)
    assert report.decision.status == "pass"
    assert report.figures.equal.coverage == pytest.approx(0.9995)
    assert any("20 pixels" in note for note in report.decision.notes)


def test_a_base_that_is_never_finite_is_reported_without_numbers() -> None:
    report = verdict(residuals([np.full(600, np.nan)] * 40), 2.0)
    assert report.decision.status == "fail"
    assert report.to_dict()["figures"]["equal"]["error"] is None


def test_memorised_training_residuals_are_noted() -> None:
    report = judge(drawn(laplace(0.8)), 4.0, SETTINGS, train=drawn(laplace(0.4), seed=1))
    assert report.figures.shrinkage == pytest.approx(2.0, rel=0.05)
    assert report.decision.status == "pass"
    assert any("2.0 times" in note for note in report.decision.notes)


def test_a_figure_just_short_of_its_limit_is_not_printed_as_the_limit() -> None:
    report = verdict(drawn(laplace(0.6)), 4.0)
    close = replace(report.figures, coverage_low=0.8999, equal=replace(report.figures.equal, reach=0.49996))
    reasons = "\n".join(decide(close, SETTINGS).reasons)
    assert "certain only to 0.8999 (" in reasons
    assert "reach G 0.49996 < 0.50" in reasons


def test_a_limit_that_is_not_known_never_passes() -> None:
    data = residuals([np.tile([1.0, -1.0], 500)] * 40, ["only"] * 40)
    report = verdict(data, 2.0, minimum_scenes=1)
    assert report.decision.status == "warn"


def test_following_the_advice_passes() -> None:
    data = drawn(laplace(1.0))
    before = verdict(data, 1.6)
    assert before.decision.status in ("warn", "fail")
    advised = float(before.decision.advice.split(" to ")[1].split()[0])
    assert verdict(data, advised).decision.status == "pass"


def test_the_advice_says_when_a_larger_bound_would_not_be_enough() -> None:
    report = verdict(drawn(one_sided(1.3, 0.2)), 1.2)
    larger = verdict(drawn(one_sided(1.3, 0.2)), report.figures.bound_needed)
    assert larger.decision.status == "fail"
    assert larger.figures.equal.structure == pytest.approx(report.figures.structure_needed)
    assert "would still be mostly one constant" in report.decision.advice
    assert "one constant" not in verdict(drawn(laplace(1.0)), 1.6).decision.advice

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from engine_polarization.gates import Saturation, SignalUse, WarpGap
from engine_polarization.options import (
    SaturationOptions,
    SignalUseOptions,
    WarpGapOptions,
    metric_needs,
    saturation_needs,
)
from pydantic import ValidationError

from engine.contracts import Evaluation

EPE = "epe/transparent"


@dataclass
class Measured:
    """A gate's view of an experiment whose results are known: (warp, ablation) -> means."""

    means: dict[tuple[str, str], dict[str, float]]
    base: dict[str, float] = field(default_factory=dict)
    system: None = None
    stage: str = "B"
    directory: Path = Path()
    seed: int = 0

    def evaluate(self, warp="pred", ablation="none") -> Evaluation:
        return Evaluation(self.means[warp, ablation], {}, {}, {}, self.base, ["a"], ["a"])

    def predictions(self, warp="pred", data="val"):
        raise AssertionError("these gates read means only")


def _saturation(**changed) -> str:
    healthy = {"sat95": 0.01, "spread": 0.8, "slope": 0.9} | changed
    means = {f"{name}/transparent": value for name, value in healthy.items() if value is not None}
    return Saturation(SaturationOptions())(Measured({("pred", "none"): means}))


@pytest.mark.parametrize(
    ("changed", "status", "told"),
    [
        ({}, "pass", "1.0% of pixels"),
        ({"sat95": 0.05, "spread": 0.3, "slope": 0.5}, "pass", ""),
        ({"sat95": 0.1}, "warn", "10.0% of pixels"),
        ({"sat95": 0.21}, "fail", "21.0% of pixels"),
        ({"spread": 0.2}, "warn", "0.20 times"),
        ({"spread": 0.05}, "fail", "0.05 times"),
        ({"slope": 0.3}, "warn", "0.30 of the gradient"),
        ({"slope": 0.05}, "fail", "0.05 of the gradient"),
        ({"sat95": 0.1, "slope": 0.05}, "fail", "10.0% of pixels"),
        ({"spread": None}, "undetermined", "spread on 'transparent' is not defined"),
        ({"spread": float("nan")}, "undetermined", "spread on 'transparent' is not defined"),
    ],
)
def test_saturation_judges_the_bound_the_spread_and_the_slope(changed, status, told):
    verdict = _saturation(**changed)
    assert verdict.status == status
    assert told in verdict.reason
    assert bool(verdict.advice) == (status != "pass")


def _use(real, shuffled, base=1.6, **options) -> object:
    measured = Measured({("pred", "none"): {EPE: real}, ("pred", "shuffle"): {EPE: shuffled}}, base={EPE: base})
    return SignalUse(SignalUseOptions(**options))(measured)


@pytest.mark.parametrize(
    ("shuffled", "status", "use"),
    [(1.6, "pass", 1.0), (1.41, "pass", 0.525), (1.3, "warn", 0.25), (1.26, "fail", 0.15)],
)
def test_signal_use_is_the_share_of_the_gain_that_a_shuffle_destroys(shuffled, status, use):
    verdict = _use(1.2, shuffled)
    assert verdict.status == status
    assert verdict.figures["signal_use"] == pytest.approx(use)


def test_next_to_nothing_lost_is_told_without_a_sign():
    assert _use(1.2, 1.1999).reason.startswith("0% of the gain")


@pytest.mark.parametrize("real", [1.59, 1.6, 1.8])
def test_signal_use_says_so_when_there_is_no_gain_to_explain(real):
    verdict = _use(real, 1.7)
    assert verdict.status == "undetermined"
    assert "signal use is not defined" in verdict.reason
    assert "signal_use" not in verdict.figures
    assert _use(1.59, 1.6, min_gain=0).status == "pass"


def test_signal_use_needs_a_base_to_compare_with():
    verdict = SignalUse(SignalUseOptions())(Measured({("pred", "none"): {EPE: 1.0}, ("pred", "shuffle"): {EPE: 1.0}}))
    assert verdict.status == "undetermined"


@pytest.mark.parametrize(
    ("predicted", "status"), [(1.2, "pass"), (0.9, "pass"), (1.6, "fail"), (float("nan"), "undetermined")]
)
def test_the_warp_gap_compares_both_alignments(predicted, status):
    measured = Measured({("pred", "none"): {EPE: predicted}, ("gt", "none"): {EPE: 1.0}})
    verdict = WarpGap(WarpGapOptions(max_gap=0.25))(measured)
    assert verdict.status == status
    if status != "undetermined":
        assert verdict.figures["gap"] == pytest.approx(predicted - 1.0)


def test_verdicts_can_be_written_down():
    for verdict in (_saturation(), _use(1.2, 1.5)):
        assert json.loads(json.dumps(dict(verdict.figures)))


def test_each_gate_tells_the_metrics_it_reads():
    assert saturation_needs(SaturationOptions(region="noc")) == ["sat95/noc", "spread/noc", "slope/noc"]
    assert metric_needs(SignalUseOptions()) == metric_needs(WarpGapOptions()) == [EPE]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (SaturationOptions, {"healthy_sat95": 0.5}),
        (SaturationOptions, {"min_spread": 0.5}),
        (SaturationOptions, {"min_slope": 0.9}),
        (SignalUseOptions, {"alarm": 0.6}),
        (WarpGapOptions, {"max": 1}),
    ],
)
def test_limits_that_contradict_each_other_are_refused(options, wrong):
    with pytest.raises(ValidationError):
        options(**wrong)

"""Checks on a trained correction: is it saturated or constant, does it use its signal, does it need the true alignment?

All are measured on held-out data; the alignment is the predicted one, as in use, unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.contracts import GateContext, Status, Verdict
from engine_polarization.options import SaturationOptions, SignalUseOptions, WarpGapOptions


class Saturation:
    """Fails when the correction sits at its bound, lets no gradient through, or is nearly a constant.

    A saturated module is one symptom; a constant answer need not saturate, so `spread` is judged beside `sat95` and
    `slope` (see the metric `correction`).
    """

    def __init__(self, options: SaturationOptions) -> None:
        self.options = options

    def __call__(self, context: GateContext) -> Verdict:
        """pass when all are healthy, fail when one is beyond its limit, warn between, undetermined without them."""
        o, mean = self.options, context.evaluate().mean
        sat95, spread, slope = (_figure(mean, f"{name}/{o.region}") for name in ("sat95", "spread", "slope"))
        figures = {"sat95": sat95, "spread": spread, "slope": slope}
        undefined = [name for name, value in figures.items() if not math.isfinite(value)]
        if undefined:
            reason = (
                f"{' and '.join(undefined)} on '{o.region}' is not defined: no correction, or no pixel to judge it on"
            )
            return Verdict(
                "undetermined", reason, figures, "evaluate a stage with the injection, on data with that region"
            )

        # (what it says when it is wrong, is it healthy, is it bearable)
        checks = (
            (f"{sat95:.1%} of pixels are at the bound", sat95 <= o.healthy_sat95, sat95 <= o.max_sat95),
            (
                f"the correction varies {spread:.2f} times as much as it should",
                spread >= o.healthy_spread,
                spread >= o.min_spread,
            ),
            (f"{slope:.2f} of the gradient passes the bound", slope >= o.healthy_slope, slope >= o.min_slope),
        )
        status: Status = "pass"
        if not all(bearable for _, _, bearable in checks):
            status = "fail"
        elif not all(healthy for _, healthy, _ in checks):
            status = "warn"
        reason = "; ".join(text for text, healthy, _ in checks if status == "pass" or not healthy)
        advice = "" if status == "pass" else "raise max_correction, train the base further, or lower the learning rate"
        return Verdict(status, reason, figures, advice)


class SignalUse:
    """Does the gain vanish when every image gets another image's polarisation?

    signal use = (E_shuffled - E_real) / (E_base - E_real): 1 when all of the gain comes from the signal, 0 when none.
    """

    def __init__(self, options: SignalUseOptions) -> None:
        self.options = options

    def __call__(self, context: GateContext) -> Verdict:
        """pass from `healthy` on, fail below `alarm`, warn between; undetermined when there is no gain to explain."""
        o = self.options
        evaluation = context.evaluate()
        real, base = _figure(evaluation.mean, o.metric), _figure(evaluation.base_mean, o.metric)
        shuffled = _figure(context.evaluate(ablation="shuffle").mean, o.metric)
        figures: dict[str, float | str] = {"real": real, "shuffled": shuffled, "base": base, "metric": o.metric}
        if not all(math.isfinite(value) for value in (real, shuffled, base)):
            reason = f"{o.metric} is not defined with the signal, without it, or for the base alone"
            return Verdict(
                "undetermined", reason, figures, "evaluate a stage with the injection, on data with that region"
            )
        gain = base - real
        if gain <= 0 or gain < o.min_gain:
            reason = (
                f"signal use is not defined: {o.metric} is {real:.3f} px with and {base:.3f} px without correction, "
                f"a gain below {o.min_gain:g} px"
            )
            return Verdict("undetermined", reason, figures, "train the injection until it lowers the error")

        use = (shuffled - real) / gain
        figures["signal_use"] = use
        reason = f"{use:z.0%} of the gain of {gain:.3f} px in {o.metric} is lost when the signal is shuffled"
        if use >= o.healthy:
            return Verdict("pass", reason, figures)
        status: Status = "fail" if use < o.alarm else "warn"
        return Verdict(
            status, reason, figures, "compare with a run on a blanked signal: the gain may need no signal at all"
        )


class WarpGap:
    """How much worse the correction is along the predicted disparity than along the true one it was trained with."""

    def __init__(self, options: WarpGapOptions) -> None:
        self.options = options

    def __call__(self, context: GateContext) -> Verdict:
        """pass up to `max_gap`, fail beyond, undetermined when the metric is not defined."""
        o = self.options
        predicted = _figure(context.evaluate(warp="pred").mean, o.metric)
        true = _figure(context.evaluate(warp="gt").mean, o.metric)
        gap = predicted - true
        figures = {"pred": predicted, "gt": true, "gap": gap, "metric": o.metric}
        if not math.isfinite(gap):
            return Verdict("undetermined", f"{o.metric} is not defined", figures, "evaluate on data with that region")
        reason = (
            f"{o.metric} is {predicted:.3f} px along the prediction, {true:.3f} px along the truth: gap {gap:.3f} px"
        )
        if gap <= o.max_gap:
            return Verdict("pass", reason, figures)
        return Verdict(
            "fail", reason, figures, 'train with warp = "pred", or on a schedule from the truth to the prediction'
        )


def _figure(means: Mapping[str, float], name: str) -> float:
    return means.get(name, math.nan)

"""The gate `threshold`: a metric within limits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.contracts import GateContext, Verdict
from engine.errors import nearest
from engine.gates.options import ThresholdOptions


@dataclass(frozen=True)
class ThresholdGate:
    """Passes while min <= metric <= max, the mean over held-out samples; a metric that was not measured fails."""

    options: ThresholdOptions

    def __call__(self, context: GateContext) -> Verdict:
        """Evaluate (once for each set of weights and setting) and compare."""
        options = self.options
        evaluation = context.evaluate(warp=options.warp)
        # Without an injection nothing was corrected, and the system's own figures are the base's.
        base_alone = options.of == "base" and evaluation.base_mean
        means = evaluation.base_mean if base_alone else evaluation.mean
        name = options.metric if options.of == "corrected" else f"{options.metric} of the base"
        value = means.get(options.metric, math.nan)
        known = math.isfinite(value)
        figures = {
            "metric": options.metric,
            "of": options.of,
            "warp": options.warp,
            "value": value if known else None,
            "min": options.min,
            "max": options.max,
            "samples": len(evaluation.ids),
            "skipped": evaluation.skipped.get(options.metric, 0),
        }
        if options.metric not in means:
            near = nearest(options.metric, list(means))
            measured = ", ".join(sorted(means)) or "none"
            advice = f"did you mean {' or '.join(map(repr, near))}?" if near else "add the metric to the recipe"
            return Verdict("fail", f"{name} was not measured; measured are: {measured}", figures, advice)
        if not known:
            advice = "look at the samples: engine eval RUN --per-image FILE.csv"
            return Verdict("fail", f"{name} is {value}: no sample gave it a finite value", figures, advice)
        advice = "train longer, or give the gate a limit that the task can reach"
        if options.max is not None and value > options.max:
            return Verdict("fail", f"{name} {value:.6g} > {options.max:g}", figures, advice)
        if options.min is not None and value < options.min:
            return Verdict("fail", f"{name} {value:.6g} < {options.min:g}", figures, advice)
        limits = [f">= {options.min:g}"] if options.min is not None else []
        limits += [f"<= {options.max:g}"] if options.max is not None else []
        return Verdict("pass", f"{name} {value:.6g} {' and '.join(limits)}", figures)

"""From feasibility figures to a verdict: the decision table, the sentences that explain it, and the advice."""

from __future__ import annotations

import math
from dataclasses import replace

from engine.contracts import Status
from engine.gates.feasibility import Decision, FeasibilityReport, Figures, Settings, measure
from engine.gates.residuals import MINIMUM_PIXELS, Residuals

# The table's numbers. A pass needs nine pixels in ten in range with confidence, and most of the error mass reachable by
# an answer that varies in space; a fail is a bound that is certainly too small, or a residual that is one constant:
# there the best the module can learn is to saturate everywhere.
PASS_COVERAGE = 0.90
FAIL_COVERAGE = 0.70
PASS_STRUCTURE = 0.50
FAIL_STRUCTURE = 0.25
PASS_REACH = 0.50
NEGLIGIBLE_GAIN = 0.2  # of `negligible`: a reachable gain so small that reach and structure divide noise by noise
NONFINITE_SHARE = 0.001
TOTAL_PIXELS = 20_000
MEMORISED = 1.5

NAMES: dict[Status, str] = {
    "pass": "PASS",
    "warn": "WARN",
    "fail": "FAIL",
    "nothing-to-gain": "NOTHING TO GAIN",
    "undetermined": "UNDETERMINED",
}
STATISTICS = {"mean": "E0 (mean |r|)", "median": "median |r|", "q90": "Q90 of |r|"}


def judge(residuals: Residuals, bound: float, settings: Settings, train: Residuals | None = None) -> FeasibilityReport:
    """Measure and decide; bound > 0 in the target's units."""
    figures = measure(residuals, bound, settings, train)
    return FeasibilityReport(settings, figures, decide(figures, settings))


def decide(figures: Figures, settings: Settings) -> Decision:
    """The verdict. Checked in this order: finite predictions, enough data, the bound, something to gain, the rest.

    Too little to gain excuses reach and structure, which mean nothing then, but neither the design rule nor coverage.
    """
    broken = _nonfinite(figures)
    shortages = _shortages(figures, settings)
    if broken:
        advice = "find out why the base gives numbers that are not finite before anything is built on it"
        return Decision("fail", (*broken, *shortages), (), advice)
    if not shortages:
        return _decide_measured(figures, settings)
    notes: tuple[str, ...] = _notes(figures, settings)
    if figures.images:
        alone = _decide_measured(figures, settings)
        notes = (f"taken alone these images would say {NAMES[alone.status]}: {'; '.join(alone.reasons)}", *notes)
    return Decision("undetermined", shortages, notes, _advice_for_more_data(figures, settings))


def design_rule(figures: Figures, settings: Settings) -> str:
    """One line: the bound against the base error, by the statistic that the recipe names."""
    value = judged_error(figures, settings)
    if math.isnan(value):
        return "design rule: bound >= base error, not measured"
    bound, error = _compared(figures.bound, value, settings.unit)
    rule = f"design rule: bound {bound} >= {STATISTICS[settings.statistic]} {error}"
    if value <= figures.bound:
        return f"{rule} holds"
    inside = 1 - figures.equal.outside
    tail = "fails by the tail: " if figures.equal.median <= figures.usable else "fails, "
    return f"{rule} {tail}{100 * inside:.0f} % of pixels are inside the bound"


def judged_error(figures: Figures, settings: Settings) -> float:
    """The statistic of |residual| that the design rule compares with the bound, in the target's units."""
    return {"mean": figures.equal.error, "median": figures.equal.median, "q90": figures.equal.q90}[settings.statistic]


def number(value: float, digits: int = 3) -> str:
    """A figure for reading: `digits` significant digits, no exponent for everyday sizes, `-` for what is not known."""
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.{digits}g}"


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """`number` with its unit."""
    return f"{number(value, digits)} {unit}".rstrip()


def _decide_measured(figures: Figures, settings: Settings) -> Decision:
    equal = figures.equal
    failures = []
    if judged_error(figures, settings) > figures.bound:
        failures.append(design_rule(figures, settings))
    if figures.coverage_high < FAIL_COVERAGE:
        failures.append(
            f"coverage is at most {_share(figures.coverage_high, FAIL_COVERAGE)} "
            f"(C {equal.coverage:.3f}, 95 % upper limit), under {FAIL_COVERAGE:.2f} too many corrections would saturate"
        )
    nothing = _nothing_to_gain(figures, settings)
    if not nothing and equal.structure < FAIL_STRUCTURE:
        failures.append(
            f"structure κ {_share(equal.structure, FAIL_STRUCTURE)} < {FAIL_STRUCTURE:.2f}: the constant "
            f"{quantity(equal.constant, settings.unit)} alone brings E0 from {number(equal.error)} to "
            f"{quantity(equal.constant_error, settings.unit)}, and no correction can go below {number(equal.oracle)}"
        )
    notes = _notes(figures, settings)
    if failures:
        return Decision("fail", tuple(failures), (*nothing, *notes), _advice(figures, settings))
    if nothing:
        advice = "leave this stage out, or limit the gate's region to where the base errs"
        return Decision("nothing-to-gain", nothing, notes, advice)
    doubts = _doubts(figures)
    if doubts:
        return Decision("warn", doubts, notes, _advice(figures, settings))
    reasons = (
        design_rule(figures, settings),
        f"coverage is at least {_share(figures.coverage_low, PASS_COVERAGE)} "
        f"(C {equal.coverage:.3f}, 95 % lower limit)",
        f"structure κ {equal.structure:.2f} >= {PASS_STRUCTURE:.2f}",
        f"reach G {equal.reach:.2f} >= {PASS_REACH:.2f}",
    )
    return Decision("pass", reasons, notes, "")


def _nonfinite(figures: Figures) -> tuple[str, ...]:
    if figures.nonfinite_share <= NONFINITE_SHARE:
        return ()
    return (
        f"the base's prediction is not finite at {figures.nonfinite} of {figures.pixels} pixels "
        f"({100 * figures.nonfinite_share:.3g} %, allowed {100 * NONFINITE_SHARE:g} %)",
    )


def _shortages(figures: Figures, settings: Settings) -> tuple[str, ...]:
    found = []
    if figures.images < settings.minimum_images:
        dropped = f" ({figures.dropped} more have under {MINIMUM_PIXELS} usable pixels)" if figures.dropped else ""
        found.append(f"{figures.images} usable images{dropped}, {settings.minimum_images} are needed")
    if figures.scenes is not None and figures.scenes < settings.minimum_scenes:
        found.append(f"{figures.scenes} scenes, {settings.minimum_scenes} are needed: images of a scene err alike")
    if figures.pixels < TOTAL_PIXELS:
        found.append(f"{figures.pixels} usable pixels together, {TOTAL_PIXELS} are needed")
    return tuple(found)


def _nothing_to_gain(figures: Figures, settings: Settings) -> tuple[str, ...]:
    equal = figures.equal
    unit = settings.unit
    gain = equal.error - equal.oracle
    if equal.error < settings.negligible:
        return (f"the base error E0 {quantity(equal.error, unit)} is under {quantity(settings.negligible, unit)}",)
    if gain < NEGLIGIBLE_GAIN * settings.negligible:
        least = quantity(NEGLIGIBLE_GAIN * settings.negligible, unit)
        return (f"the best correction within the bound gains {quantity(gain, unit)}, under {least}",)
    return ()


def _doubts(figures: Figures) -> tuple[str, ...]:
    equal = figures.equal
    doubts = []
    if not figures.coverage_low >= PASS_COVERAGE:  # so put, a limit that is not known (nan) is a doubt
        doubts.append(
            f"coverage is certain only to {_share(figures.coverage_low, PASS_COVERAGE)} "
            f"(C {equal.coverage:.3f}, 95 % lower limit), {PASS_COVERAGE:.2f} is needed"
        )
    if equal.structure < PASS_STRUCTURE:
        doubts.append(
            f"structure κ {_share(equal.structure, PASS_STRUCTURE)} < {PASS_STRUCTURE:.2f}: "
            "a constant takes most of the gain"
        )
    if equal.reach < PASS_REACH:
        doubts.append(
            f"reach G {_share(equal.reach, PASS_REACH)} < {PASS_REACH:.2f}: most of the error lies beyond the bound"
        )
    return tuple(doubts)


def _notes(figures: Figures, settings: Settings) -> tuple[str, ...]:
    notes = []
    if figures.shrinkage > MEMORISED:
        notes.append(
            f"the base errs {figures.shrinkage:.1f} times as much on held-out as on training data "
            f"(E0 {number(figures.equal.error)} against {number(figures.train_error)}): a correction trained on the "
            "training residuals sees smaller ones than it will meet"
        )
    if settings.statistic != "mean" and figures.equal.error > figures.bound:
        notes.append(design_rule(figures, replace(settings, statistic="mean")))
    if figures.nonfinite:
        notes.append(f"{figures.nonfinite} pixels without a finite prediction count as out of reach")
    if figures.dropped:
        notes.append(f"{figures.dropped} images have under {MINIMUM_PIXELS} usable pixels and were left out")
    if figures.images and figures.scenes is None:
        notes.append("the data do not name scenes: limits take images as independent, which may be optimistic")
    return tuple(notes)


def _advice(figures: Figures, settings: Settings) -> str:
    unit = settings.unit
    wanted = [figures.bound_needed]
    if judged_error(figures, settings) > figures.bound:
        wanted.append(judged_error(figures, settings))
    if figures.equal.reach < PASS_REACH:
        wanted.append(figures.bound_for_half)
    target = max(value for value in (*wanted, 0.0) if not math.isnan(value))
    ways = []
    if math.isfinite(target) and target > figures.bound:
        ways.append(
            f"raise the bound from {number(figures.bound)} to {quantity(_rounded_up(target), unit)} (injection option "
            f"{settings.bound_option}), which is not free: gradients scale with the bound, and so does the harm "
            "that a wrong correction does where the base was right"
        )
        if figures.structure_needed < PASS_STRUCTURE:
            ways[-1] += (
                f", and not enough here: in range the residual would still be mostly one constant (κ "
                f"{figures.structure_needed:.2f})"
            )
    certain = figures.coverage_low >= PASS_COVERAGE  # so put, a limit that is not known (nan) is not certain
    if not certain and figures.equal.coverage >= PASS_COVERAGE:
        ways.append("measure on more scenes, since the point estimate is good enough")
    if not settings.base_learns:
        ways.append("take another base, since this one has nothing to train")
    elif not certain:
        ways.append(f"train the parent stage until Q90 <= {quantity(figures.usable, unit)} with confidence")
    elif figures.equal.structure < PASS_STRUCTURE:
        ways.append(f"train the parent stage until its bias of {quantity(figures.equal.bias, unit)} is gone")
    else:
        ways.append(f"train the parent stage until E0 <= {quantity(figures.bound, unit)} and its tail is lighter")
    return "; or ".join(ways)


def _advice_for_more_data(figures: Figures, settings: Settings) -> str:
    needs = [f"{settings.minimum_images} images with {MINIMUM_PIXELS} usable pixels each"]
    if figures.scenes is not None:
        needs.append(f"{settings.minimum_scenes} scenes")
    return (
        f"give the validation data at least {', '.join(needs)} and {TOTAL_PIXELS} usable pixels together, better twice "
        "that, or widen the gate's region"
    )


def _compared(left: float, right: float, unit: str) -> tuple[str, str]:
    """Both numbers with as many digits as it takes to tell them apart."""
    digits = next((d for d in range(3, 9) if left == right or number(left, d) != number(right, d)), 9)
    return quantity(left, unit, digits), quantity(right, unit, digits)


def _share(value: float, limit: float) -> str:
    """A share with as many decimals, three at least, as it takes to tell it from the limit it is compared with."""
    if math.isnan(value):
        return "-"
    return next((text for d in range(3, 9) if float(text := f"{value:.{d}f}") != limit), f"{value:.3f}")


def _rounded_up(value: float) -> float:
    """Up to two significant digits, so that who follows the advice to the letter passes."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step - 1e-9) * step

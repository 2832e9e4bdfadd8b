"""What is known of feasibility, for the terminal; the same text reads well when it is piped to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.contracts import Verdict
from engine.gates.decision import NAMES, design_rule, number, quantity
from engine.gates.feasibility import FeasibilityReport

if TYPE_CHECKING:
    from rich.console import RenderableType

COLOURS = {"pass": "green", "warn": "yellow", "fail": "red", "nothing-to-gain": "yellow", "undetermined": "yellow"}


def render(report: FeasibilityReport) -> RenderableType:
    """Verdict, design rule, figures, strata, reasons, notes and advice, as something rich can print."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    figures, settings, decision = report.figures, report.settings, report.decision
    title = Text(f"feasibility of a correction within ±{quantity(figures.bound, settings.unit)}: ")
    title.append(NAMES[decision.status], style=f"bold {COLOURS[decision.status]}")
    parts: list[RenderableType] = [title, Text(design_rule(figures, settings)), Text(counts(report))]
    if figures.images:
        table = Table("figure", box=None, pad_edge=False, header_style="")
        for heading in ("per image", "pooled"):
            table.add_column(heading, justify="right")
        table.add_column("95 % limits, meaning")
        for row in figure_rows(report):
            table.add_row(*row)
        parts += [Text(""), table]
    if figures.strata:
        table = Table("stratum", box=None, pad_edge=False, header_style="")
        for heading in ("pixels", "images", "E0", "C", "bias"):
            table.add_column(heading, justify="right")
        for s in figures.strata:
            cells = (str(s.pixels), str(s.images), number(s.error), f"{s.coverage:.2f}", number(s.bias))
            table.add_row(s.name, *cells)
        parts += [Text(""), table]
    parts.append(Text(""))
    parts += [Text(f"{NAMES[decision.status]} because {reason}") for reason in decision.reasons]
    parts += [Text(f"note: {note}") for note in decision.notes]
    if decision.advice:
        parts.append(Text(f"advice: {decision.advice}"))
    return Group(*parts)


def render_verdict(check: str, verdict: Verdict) -> RenderableType:
    """What a plugin's gate `check` says: verdict, the figures that are numbers or texts, reason and advice."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    title = Text(f"feasibility by the gate {check}: ")
    title.append(NAMES[verdict.status], style=f"bold {COLOURS[verdict.status]}")
    table = Table("figure", box=None, pad_edge=False, header_style="")
    table.add_column("value", justify="right")
    for name, value in verdict.figures.items():
        if isinstance(value, int | float | str):
            table.add_row(Text(name), value if isinstance(value, str) else number(value))
    parts: list[RenderableType] = [title, Text("")]
    parts += [table, Text("")] if table.row_count else []
    parts.append(Text(f"{NAMES[verdict.status]} because {verdict.reason}"))
    if verdict.advice:
        parts.append(Text(f"advice: {verdict.advice}"))
    return Group(*parts)


def counts(report: FeasibilityReport) -> str:
    """One line: how many images, scenes and pixels were measured, and what was left out."""
    figures = report.figures
    scenes = "scenes not named" if figures.scenes is None else f"{figures.scenes} scenes"
    line = f"measured on {figures.images} images, {scenes}, {figures.pixels} pixels"
    if figures.dropped:
        line += f"; {figures.dropped} images with too few pixels left out"
    if figures.nonfinite:
        line += f"; {figures.nonfinite} pixels without a finite prediction"
    return line


def figure_rows(report: FeasibilityReport) -> list[tuple[str, str, str, str]]:
    """(figure, images weighing the same, pixels weighing the same, limits or meaning), one a row of the table."""
    figures, unit = report.figures, report.settings.unit
    equal, pooled = figures.equal, figures.pooled
    in_unit = f" [{unit}]" if unit else ""
    rows = [
        (
            f"E0 mean |r|{in_unit}",
            number(equal.error),
            number(pooled.error),
            f"{number(figures.error_low)} .. {number(figures.error_high)}",
        ),
        (f"median |r|{in_unit}", number(equal.median), number(pooled.median), ""),
        (
            f"Q90 of |r|{in_unit}",
            number(equal.q90),
            number(pooled.q90),
            f"<= {number(figures.q90_high)}, so the bound needed is {number(figures.bound_needed)}",
        ),
        (
            f"coverage C, |r| <= {number(figures.usable)}",
            f"{equal.coverage:.3f}",
            f"{pooled.coverage:.3f}",
            f">= {figures.coverage_low:.3f}, <= {figures.coverage_high:.3f}",
        ),
        (f"share |r| > {number(figures.bound)}", f"{equal.outside:.3f}", f"{pooled.outside:.3f}", ""),
        (
            f"bias, mean r{in_unit}",
            number(equal.bias),
            number(pooled.bias),
            f"{number(figures.bias_low)} .. {number(figures.bias_high)}",
        ),
        (f"oracle E_or{in_unit}", number(equal.oracle), number(pooled.oracle), "best any correction can reach"),
        ("reach G", f"{equal.reach:.2f}", f"{pooled.reach:.2f}", "1 - E_or / E0"),
        (
            f"constant E_c{in_unit}",
            number(equal.constant_error),
            number(pooled.constant_error),
            f"best constant, {number(equal.constant)}",
        ),
        ("structure κ", f"{equal.structure:.2f}", f"{pooled.structure:.2f}", "gain that no constant gets"),
    ]
    if figures.shrinkage == figures.shrinkage:
        rows.append(("shrinkage S", f"{figures.shrinkage:.2f}", "", f"E0 / {number(figures.train_error)} on train"))
    return rows

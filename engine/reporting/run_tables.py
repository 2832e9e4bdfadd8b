"""Tables of finished runs for people: all of them, and several beside each other."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from engine.reporting.stage_lines import STATE_COLOURS
from engine.reporting.words import COLOURS, OVERRIDDEN

ABOUT_DIFFERENCES = (
    "difference: the other run minus run 1, mean over samples; where its interval excludes 0 the row is bold",
    "the interval: what other held-out scenes would change in it, not what another seed would",
    "",
)
ALIGNED = {"off": "no injection", "gt": "ground truth", "pred": "prediction", "": "-"}


def when(seconds: float) -> str:
    """A time since 1970 as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def table_of(title: str, columns: Sequence[str], right: Sequence[str] = ()) -> Table:
    """An empty table as all of a run's look."""
    table = Table(title=escape(title) or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(escape(name), justify="right" if name in right else "left")
    return table


def runs_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """A row a run: which, when, its state, its stages, its newest key metric."""
    table = table_of("", ("run", "started", "state", "stages", "held-out data"))
    table.columns[0].no_wrap = True  # to be copied into the next command
    for run in runs:
        last = run["last"]
        figure = "-" if last is None else f"{last['metric']} {number(last['value'])} {last['moment']} {last['stage']}"
        stages = "; ".join(_stages(run["stages"]))
        table.add_row(escape(run["name"]), when(run["started"]), _state(run["state"]), stages, escape(figure))
    return table


def comparison_tables(comparison: Mapping[str, Any]) -> Iterator[Table | str]:
    """What a comparison found, as tables and lines: of the metrics the key ones, without ablations."""
    runs = [f"run {run['run']}" for run in comparison["runs"]]
    table = table_of("runs, each compared with run 1", ("", "run", "state", "started"))
    for run in comparison["runs"]:
        table.add_row(f"run {run['run']}", escape(run["name"]), _state(run["state"]), when(run["started"]))
    yield table
    if comparison["recipe"]:
        table = table_of("recipe", ("key", *runs))
        for row in comparison["recipe"]:
            table.add_row(escape(row["key"]), *map(escape, row["values"]))
        yield table
    key = comparison["key"]
    whole = [row for row in comparison["metrics"] if row["ablation"] == "none"]
    rows = [row for row in whole if not key or row["metric"] in key]
    if rows:
        yield _metrics_table(rows, len(runs))
        yield from ABOUT_DIFFERENCES
    if comparison["gates"]:
        table = table_of("gates", ("where", "gate", *runs))
        for gate in comparison["gates"]:
            said = [" -> ".join(map(_verdict, verdicts)) or "not asked" for verdicts in gate["verdicts"]]
            table.add_row(f"{gate['at']} of {escape(gate['stage'])}", escape(gate["check"]), *said)
        yield table


def _metrics_table(rows: Sequence[Mapping[str, Any]], runs: int) -> Table:
    several = runs > 2
    other = "other" if several else "run 2"
    figures = ("run 1", other, "difference", "95 % interval", "lower in")
    columns = ("moment", "aligned by", "metric", *(["run"] if several else []), *figures)
    table = table_of("held-out data, mean over paired samples", columns, right=figures)
    for row in rows:
        on = "" if row["data"] == "val" else f" on {row['data']}"
        low, high = row["low"], row["high"]
        known = math.isfinite(low) and math.isfinite(high)
        bold = "bold" if known and (low > 0 or high < 0) else ""
        table.add_row(
            escape(f"{row['moment']} {row['stage']}{on}"),
            ALIGNED.get(row["warp"], row["warp"]),
            escape(row["metric"]),
            *([f"run {row['run']}"] if several else []),
            number(row["first"]),
            number(row["other"]),
            signed(row["difference"]),
            f"{signed(low)} .. {signed(high)}" if known else "-",
            f"{row['lower']} of {len(row['differences'])}",
            style=bold,
        )
    return table


def number(value: float | None) -> str:
    """A figure as tables show it; "-" for one that is not there or not finite."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def signed(value: float) -> str:
    """A difference, always with its sign."""
    return f"{value:+.3f}" if value else "0"


def _state(state: str) -> str:
    colour = STATE_COLOURS.get(state, "red")
    return f"[{colour}]{escape(state)}[/{colour}]"


def _stages(stages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Stages of one state that follow each other are told together."""
    for state, inside in groupby(stages, lambda stage: stage["state"]):
        names = [
            f"{stage['name']} at {stage['step']} of {stage['steps']}"
            if 0 < stage["step"] < stage["steps"]
            else stage["name"]
            for stage in inside
        ]
        yield f"{escape(' '.join(names))} {_state(state)}"


def _verdict(verdict: Mapping[str, Any]) -> str:
    colour = COLOURS.get(verdict["status"], "red")
    overridden = ", overridden" if verdict["action"] == OVERRIDDEN else ""
    return f"[{colour}]{verdict['status'].upper()}{overridden}[/{colour}]: {escape(verdict['reason'])}"

"""Tables of figures for people: the same rows in a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

OVERRIDDEN = "go on, overridden"


def summary_table(rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> Table:
    """Key metrics after each stage; where an injection is on, the base alone stands in brackets beside the whole.

    Where retention data were measured too, a column tells which row is on what.
    """
    title = "held-out data, mean over samples [base alone]"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("moment")
    table.add_column("aligned by")
    several = any(row.get("data", "val") != "val" for row in rows)
    if several:
        table.add_column("data")
    for name in key:
        table.add_column(escape(name), justify="right")
    for row in rows:
        aligned = {"off": "no injection", "gt": "ground truth", "pred": "prediction"}[row["warp"]]
        cells = [_cell(row["mean"].get(name), row["base"].get(name)) for name in key]
        data = [escape(row.get("data", "val"))] if several else []
        table.add_row(f"{row['moment']} {row['stage']}", aligned, *data, *cells)
    return table


def gate_table(gates: Sequence[Mapping[str, Any]]) -> Table:
    """Verdicts in the order in which they were given."""
    table = Table(title="gates", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("where", "gate", "verdict"):
        table.add_column(column, no_wrap=True)
    table.add_column("reason")
    for gate in gates:
        verdict = gate["status"].upper() + (", overridden" if gate["action"] == OVERRIDDEN else "")
        table.add_row(f"{gate['at']} of {gate['stage']}", escape(gate["check"]), verdict, escape(gate["reason"]))
    return table


def cost_table(stages: Sequence[Mapping[str, Any]], seconds: float, how: Mapping[str, Any]) -> Table:
    """What stages would cost, with the sum of their times and how it was measured."""
    table = Table(title="estimated cost", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    names = ("stage", "a step", "steps", "evaluated", "outputs cached", "in all", "memory", "checkpoint")
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    for stage in stages:
        frozen = f"{_time(stage['frozen_outputs'])}, {_size(stage['frozen_bytes'])}" if stage["frozen_bytes"] else "-"
        steps = stage["steps"] * stage["seconds_per_step"]
        times = (stage["seconds_per_step"], steps, stage["evaluation"])
        memory = "-" if stage["peak_bytes"] is None else _size(stage["peak_bytes"])
        last = (_time(stage["seconds"]), memory, _size(stage["checkpoint_bytes"]))
        table.add_row(escape(stage["name"]), *map(_time, times), frozen, *last)
    table.add_row("total", "", "", "", "", _time(seconds), "", "")
    table.caption = (
        f"an estimate from {how['steps']} steps after {how['warm_up']} that are not counted, on {how['device']}, and "
        f"{how['samples']} samples evaluated; gates, imports and the preparation of data are not in it"
    )
    table.caption_justify = "left"
    return table


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e3:.0f} kB"


def _cell(value: float | None, base: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" [{base:.3f}]" if base is not None else "")

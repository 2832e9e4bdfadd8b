"""Tables of figures for people: the same rows in a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from engine.contracts import Evaluation
from engine.reporting.words import COLOURS, OVERRIDDEN, duration


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
        table.add_row(escape(f"{row['moment']} {row['stage']}"), aligned, *data, *cells)
    return table


def gate_table(gates: Sequence[Mapping[str, Any]]) -> Table:
    """Verdicts in the order in which they were given, each with its figures and what to do where it is no pass."""
    table = Table(title="gates", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("where", "gate", "verdict"):
        table.add_column(column, no_wrap=True)
    table.add_column("reason, and what to do")
    for gate in gates:
        colour = COLOURS.get(gate["status"], "red")
        given = gate["status"].upper() + (", overridden" if gate["action"] == OVERRIDDEN else "")
        told = gate["reason"]
        if gate.get("advice") and gate["status"] != "pass":
            told += f"; what to do: {gate['advice']}"
        where = f"{gate['at']} of {escape(gate['stage'])}"
        table.add_row(where, escape(gate["check"]), f"[{colour}]{given}[/{colour}]", escape(told))
    return table


def evaluation_table(evaluation: Evaluation) -> Table:
    """Every metric of one evaluation, in the form of the run's table: the base alone stands in brackets."""
    title = f"{len(evaluation.ids)} samples, mean over samples{' [base alone]' if evaluation.base_mean else ''}"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    for name in ("mean", "pooled", "samples skipped"):
        table.add_column(name, justify="right")
    for name, skipped in evaluation.skipped.items():
        mean = _cell(evaluation.mean.get(name), evaluation.base_mean.get(name))
        table.add_row(escape(name), mean, _cell(evaluation.pooled.get(name), None), str(skipped))
    return table


def cost_table(stages: Sequence[Mapping[str, Any]], seconds: float, how: Mapping[str, Any]) -> Table:
    """What stages would cost, with the sum of their times and how it was measured."""
    table = Table(title="estimated cost", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    names = ("stage", "a step", "steps", "evaluated", "outputs cached", "in all", "memory", "checkpoint")
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    for stage in stages:
        cached = f"{duration(stage['frozen_outputs'])}, {_size(stage['frozen_bytes'])}"
        steps = stage["steps"] * stage["seconds_per_step"]
        times = (stage["seconds_per_step"], steps, stage["evaluation"])
        memory = "-" if stage["peak_bytes"] is None else _size(stage["peak_bytes"])
        last = (duration(stage["seconds"]), memory, _size(stage["checkpoint_bytes"]))
        table.add_row(escape(stage["name"]), *map(duration, times), cached if stage["frozen_bytes"] else "-", *last)
    table.add_row("total", "", "", "", "", duration(seconds), "", "")
    table.caption = (
        f"an estimate from {how['steps']} steps after {how['warm_up']} that are not counted, on {how['device']}, and "
        f"{how['samples']} samples evaluated; gates, imports and the preparation of data are not in it"
    )
    table.caption_justify = "left"
    return table


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e3:.0f} kB"


def _cell(value: float | None, base: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (escape(f" [{base:.3f}]") if base is not None else "")  # [nan] would be a tag

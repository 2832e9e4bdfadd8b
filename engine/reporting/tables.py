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


def _cell(value: float | None, base: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" [{base:.3f}]" if base is not None else "")

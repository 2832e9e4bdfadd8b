"""Tables of figures for people: the same rows in a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


def summary_table(rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> Table:
    """Key metrics after each stage; where an injection is on, the base alone stands in brackets beside the whole."""
    table = Table(title="held-out data, mean over samples (base alone in brackets)", title_justify="left")
    table.add_column("moment")
    table.add_column("aligned by")
    for name in key:
        table.add_column(name, justify="right")
    for row in rows:
        aligned = {"off": "no injection", "gt": "ground truth", "pred": "prediction"}[row["warp"]]
        cells = [_cell(row["mean"].get(name), row["base"].get(name)) for name in key]
        table.add_row(f"{row['moment']} {row['stage']}", aligned, *cells)
    return table


def gate_table(gates: Sequence[Mapping[str, Any]]) -> Table:
    """Verdicts in the order in which they were given."""
    table = Table(title="gates", title_justify="left")
    for column in ("stage", "at", "gate", "verdict", "action"):
        table.add_column(column, no_wrap=column != "action")
    table.add_column("reason")
    for gate in gates:
        table.add_row(gate["stage"], gate["at"], gate["check"], gate["status"].upper(), gate["action"], gate["reason"])
    return table


def _cell(value: float | None, base: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" [{base:.3f}]" if base is not None else "")

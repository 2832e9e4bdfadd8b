"""What a stage notes of itself, read without torch: its rows of the final table and its gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import WorldError
from engine.files import read_json

RECORD = "record.json"
"""What a stage notes when it ends, beside the weights that it hands on: their digest among it."""
ENTRY = "entry.json"
"""What it notes before its first step."""


def read_record(path: Path, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """What a stage noted, with its rows of the final table; WorldError naming the file when it is damaged."""
    record = read_json(path, rows=list, gates=list, **keys)
    if not all(map(_is_row, record["rows"])):
        raise WorldError(f"{path} is damaged: its 'rows' are of another kind")
    if not all(_holds_texts(gate, "check", "at", "status", "action", "reason") for gate in record["gates"]):
        raise WorldError(f"{path} is damaged: its 'gates' are of another kind")
    if not is_figure(record.get("seconds")):
        raise WorldError(f"{path} is damaged: its 'seconds' are of another kind")
    return record


def is_figure(value: Any) -> bool:
    """Whether it is a number as JSON keeps it, or None, which stands for one that is not finite."""
    return value is None or isinstance(value, int | float)


def are_figures(value: Any) -> bool:
    """Whether it is a table of figures."""
    return isinstance(value, dict) and all(map(is_figure, value.values()))


def _is_row(row: Any) -> bool:
    return (
        _holds_texts(row, "stage", "moment", "warp")
        and row["warp"] in ("off", "gt", "pred")
        and isinstance(row.get("data", "val"), str)
        and are_figures(row.get("mean"))
        and are_figures(row.get("base"))
    )


def _holds_texts(table: Any, *names: str) -> bool:
    return isinstance(table, dict) and all(isinstance(table.get(name), str) for name in names)

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
    for row in record["rows"]:
        if not (isinstance(row, dict) and {"stage", "moment", "warp", "mean", "base"} <= row.keys()):
            raise WorldError(f"{path} is damaged: its 'rows' are of another kind")
    for gate in record["gates"]:
        if not (isinstance(gate, dict) and {"check", "at", "status", "action", "reason"} <= gate.keys()):
            raise WorldError(f"{path} is damaged: its 'gates' are of another kind")
    return record

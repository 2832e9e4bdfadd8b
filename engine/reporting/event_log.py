"""`events.jsonl`: every lifecycle event on one line, for programs."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import time
from pathlib import Path
from typing import Any

from engine import events
from engine.contracts import Evaluation
from engine.hookspecs import hookimpl


@hookimpl
def _append(log: EventLog, event: Any) -> None:
    log.write(event)


class EventLog:
    """Appends every event to `events.jsonl` in the run's directory; values per sample stay in the stage's own files."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._waiting: list[str] = []

    def write(self, event: Any) -> None:
        """Append one event."""
        kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
        fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
        line = json.dumps({"event": kind, "time": round(time.time(), 3), **_plain(fields)}, default=str) + "\n"
        if self._path is None:
            self._waiting.append(line)
            return
        # Opened for each line: an event every few steps costs microseconds, and nothing is lost when the process dies.
        with self._path.open("a") as file:
            file.writelines([*self._waiting, line])
        self._waiting.clear()

    @hookimpl
    def engine_run_started(self, event: events.RunStarted) -> None:
        """From here on there is a directory to write to."""
        self._path = event.directory / "events.jsonl"
        self.write(event)

    engine_stage_started = engine_stage_frozen = engine_step = engine_evaluated = _append
    engine_gate_decided = engine_checkpoint_saved = engine_stage_finished = engine_run_finished = engine_note = _append


def _plain(value: Any) -> Any:
    if isinstance(value, Evaluation):
        names = ("mean", "pooled", "skipped", "base_mean")
        return {name: _plain(getattr(value, name)) for name in names} | {"samples": len(value.ids)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers, and they must not pass silently
    return value

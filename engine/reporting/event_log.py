"""`events.jsonl`: every lifecycle event on one line, for programs."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any

from engine import events
from engine.contracts import Evaluation
from engine.hookspecs import hookimpl


class EventLog:
    """Appends every event to `events.jsonl` in the run's directory; values per sample stay in the stage's own files."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._waiting: list[str] = []

    def _write(self, event: Any) -> None:
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
        self._path = event.directory / "events.jsonl"
        self._write(event)

    @hookimpl
    def engine_stage_started(self, event: events.StageStarted) -> None:
        self._write(event)

    @hookimpl
    def engine_stage_frozen(self, event: events.StageFrozen) -> None:
        self._write(event)

    @hookimpl
    def engine_step(self, event: events.Step) -> None:
        self._write(event)

    @hookimpl
    def engine_evaluated(self, event: events.Evaluated) -> None:
        self._write(event)

    @hookimpl
    def engine_gate_decided(self, event: events.GateDecided) -> None:
        self._write(event)

    @hookimpl
    def engine_checkpoint_saved(self, event: events.CheckpointSaved) -> None:
        self._write(event)

    @hookimpl
    def engine_stage_finished(self, event: events.StageFinished) -> None:
        self._write(event)

    @hookimpl
    def engine_run_finished(self, event: events.RunFinished) -> None:
        self._write(event)

    @hookimpl
    def engine_note(self, event: events.Note) -> None:
        self._write(event)


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
    if isinstance(value, float) and value != value or value in (float("inf"), float("-inf")):
        return str(value)  # JSON has no such numbers, and they must not pass silently
    return value

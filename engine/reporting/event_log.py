"""`events.jsonl`: every lifecycle event on one line, for programs.

A number that is not finite is null, as in every JSON file of a run, so that a column of numbers stays one; and it does
not pass silently: the line then has `not_finite`, which tells what stood where, as {"terms.square": "nan"}.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from engine import events
from engine.contracts import Evaluation
from engine.errors import WorldError
from engine.hookspecs import hookimpl
from engine.plain import finite, not_finite


@hookimpl
def _append(log: EventLog, event: Any) -> None:
    log.write(event)


class EventLog:
    """Appends every event to `events.jsonl` in the run's directory; values per sample stay in the stage's own files."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._waiting: list[str] = []

    def write(self, event: Any) -> None:
        """Append one event; WorldError where the disk takes no more, which leaves no half line."""
        self._waiting.append(_line(event))
        if self._path is None:
            return
        text = "".join(self._waiting).encode()
        try:
            # Opened for each line: an event every few steps costs microseconds, and nothing is lost when the process
            # dies. Unbuffered: one system call writes the whole line, so that a killed process leaves no half of it.
            with self._path.open("ab", buffering=0) as file:
                written = file.write(text)
                if written < len(text):
                    file.truncate(file.tell() - written)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise WorldError(f"{self._path} could not be written: {error.strerror or error}") from error
        self._waiting.clear()

    @hookimpl
    def engine_run_started(self, event: events.RunStarted) -> None:
        """From here on there is a directory to write to."""
        self._path = event.directory / events.LOG
        self.write(event)

    engine_stage_started = engine_stage_frozen = engine_step = engine_evaluated = _append
    engine_gate_decided = engine_checkpoint_saved = engine_stage_finished = engine_run_finished = engine_note = _append


_json = json.JSONEncoder(default=str, allow_nan=False).encode


@cache
def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _line(event: Any) -> str:
    line = {"event": _snake(type(event).__name__), "time": round(time.time(), 3), **_plain(event)}
    try:
        return _json(line) + "\n"
    except ValueError:  # a number that is not finite
        return _json({**finite(line), "not_finite": dict(not_finite(line))}) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Evaluation):
        names = ("mean", "pooled", "skipped", "base_mean")
        return {name: _plain(getattr(value, name)) for name in names} | {"samples": len(value.ids)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

"""The event log: one line an event, whatever the line holds and however long the file is."""

from __future__ import annotations

import errno
import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import room_for

from engine import events
from engine.errors import WorldError
from engine.reporting.event_log import EventLog


def step(number: int, loss: float = 0.5, **terms: float) -> events.Step:
    return events.Step("A", number, 100, loss, terms, 1.0, 0.1, 0.01, 0.5, 0)


def started(folder: Path) -> EventLog:
    log = EventLog()
    log.engine_run_started(events.RunStarted("toy", folder, [("A", "", 100)], False, "cpu"))
    return log


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_a_number_that_is_not_finite_is_null_and_told_of(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.write(step(1, float("nan"), square=float("-inf"), edge=2.0))
    log.write(events.Note("info", "rows", {"rows": [1.0, float("inf")]}))
    log.write(step(2, square=1.0))
    _, wild, note, tame = lines(tmp_path)
    assert wild["loss"] is None
    assert wild["terms"] == {"square": None, "edge": 2.0}
    assert wild["not_finite"] == {"loss": "nan", "terms.square": "-inf"}
    assert note["not_finite"] == {"details.rows.1": "inf"}
    assert "not_finite" not in tame


def test_what_comes_before_the_run_has_a_directory_is_kept_for_it(tmp_path: Path) -> None:
    log = EventLog()
    log.write(events.Note("info", "early", {}))
    log.engine_run_started(events.RunStarted("toy", tmp_path, [], False, "cpu"))
    assert [line["event"] for line in lines(tmp_path)] == ["note", "run_started"]


class Counted(io.FileIO):
    """A file that counts what is done with it."""

    done: ClassVar[Counter[str]] = Counter()

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self.done["opened"] += 1

    def write(self, data: Any, /) -> int:
        self.done["writes"] += 1
        self.done["bytes"] += len(data)
        return super().write(data)

    def forbidden(self, *_: object) -> Any:
        pytest.fail("an event needs nothing of the file but its end")

    read = readall = readinto = truncate = seek = forbidden


def test_an_event_costs_the_same_however_long_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, costs = started(tmp_path), set()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode, buffering: Counted(path, mode))
        for _ in range(2000):
            Counted.done.clear()
            log.write(step(7))
            costs.add(tuple(sorted(Counted.done.items())))
    assert {cost[1:] for cost in costs} == {(("opened", 1), ("writes", 1))}
    longest = max(cost[0][1] for cost in costs)
    assert longest < 300, "a line holds its own event and no other"
    assert len(lines(tmp_path)) == 2001


def test_a_full_disk_is_the_worlds_fault(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    with pytest.raises(WorldError, match=rf"events\.jsonl could not be written: {os.strerror(errno.ENOSPC)}"):
        started(tmp_path)


def test_a_line_that_fits_only_in_part_is_taken_back_and_written_when_there_is_room(tmp_path: Path) -> None:
    log = started(tmp_path)
    before = (tmp_path / "events.jsonl").read_bytes()
    with room_for(len(before) + 20), pytest.raises(WorldError, match="could not be written"):
        log.write(step(1))
    assert (tmp_path / "events.jsonl").read_bytes() == before
    log.write(step(2))
    assert [line.get("step") for line in lines(tmp_path)] == [None, 1, 2]

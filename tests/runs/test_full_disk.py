"""A disk that takes no more, and figures that JSON cannot write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe, events_of, only_run
from toy_world import STAGE_A

from engine.errors import WorldError
from engine.files import write_json


def full(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Let every file whose name holds `word` fail as on a full disk."""
    write = Path.write_text

    def failing(path: Path, *arguments: Any, **more: Any) -> int:
        if word in path.name:
            raise OSError(28, "No space left on device", str(path))
        return write(path, *arguments, **more)

    monkeypatch.setattr(Path, "write_text", failing)


def test_a_file_of_the_run_that_cannot_be_written_is_the_worlds_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full(monkeypatch, "record.json")
    with pytest.raises(WorldError, match=r"record\.json could not be written: No space left"):
        write_json(tmp_path / "record.json", {})


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "evaluation.json", {"mean": float("nan"), "rows": [(float("inf"), 1.5)]})
    assert json.loads((tmp_path / "evaluation.json").read_text(), parse_constant=pytest.fail) == {
        "mean": None,
        "rows": [[None, 1.5]],
    }


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [({"spoil": 1}, 3, "not finite at step"), ({}, 1, "status.json could not be written: No space left")],
)
def test_a_status_that_cannot_be_written_hides_no_error_and_the_run_still_ends(  # three of them are fixtures
    engine: Command,
    toy_recipe: WriteRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: dict[str, Any],
    code: int,
    words: str,
) -> None:
    full(monkeypatch, "status.json")
    done = engine("run", toy_recipe(stage=[STAGE_A], data={"train": data}, train={"log_every": 3}))
    assert done.code == code
    assert words in done.err
    (event,) = events_of(only_run(tmp_path), "run_finished")
    assert event["status"] != "done"


def test_a_disk_that_fills_while_events_are_written_is_no_plugins_fault(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "fills.py").write_text("""
from engine.hookspecs import hookimpl

@hookimpl
def engine_run_started(event):
    (event.directory / "events.jsonl").unlink()
    (event.directory / "events.jsonl").symlink_to("/dev/full")
""")
    path = toy_recipe(stage=[STAGE_A])
    path.write_text(path.read_text().replace("toy_plugin.py", 'toy_plugin.py", "fills.py'))
    done = engine("run", path)
    assert done.code == 1
    (run,) = (tmp_path / "runs" / "toy").iterdir()
    line = f"error {run.relative_to(tmp_path)}/events.jsonl could not be written: No space left on device"
    assert done.err.splitlines() == [line]
    assert json.loads((run / "status.json").read_text())["status"] == "failed"

"""What the directory of a run tells of it, read without torch: its stages, gates, figures, and whether it goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoints.record import ENTRY, RECORD, are_figures, read_record
from engine.errors import WorldError
from engine.files import is_held, read_json
from engine.runs.directory import LOCK, RECIPE, STATUS

REPORT = "report.html"
EVENTS = "events.jsonl"
TAIL = 1 << 16
"""Bytes at the end of the events that tell what a run does now: some hundred lines, however long it has been going."""


@dataclass(frozen=True)
class StageHistory:
    """A stage of a run.

    state: "waiting", "running", "done", "reused", or how the run ended in it. step: the last one told of.
    asks: the gates of the recipe as (at, check). gates, rows: verdicts and rows of the final table so far. data: what
    its data sets were (how many samples, the digest of the first). trained_in: the run that a reused stage is from.
    """

    name: str
    title: str
    steps: int
    state: str
    step: int
    seconds: float | None
    asks: Sequence[tuple[str, str]]
    gates: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    data: Mapping[str, Any]
    trained_in: str | None


@dataclass(frozen=True)
class RunHistory:
    """A run: `state` is how it ended, "running", or "killed" where it neither goes on nor told how it ended.

    started: seconds since 1970. last: the newest held-out figure as (metric, value, moment, stage), None without any.
    report: its report where there is one.
    """

    path: Path
    recipe: Mapping[str, Any]
    started: float
    state: str
    message: str
    stages: Sequence[StageHistory]
    last: tuple[str, float, str, str] | None
    report: Path | None

    @property
    def name(self) -> str:
        """RECIPE/TIME-ID."""
        place = self.path.absolute()
        return f"{place.parent.name}/{place.name}"

    @property
    def key(self) -> list[str]:
        """The metrics of the final table."""
        evaluate = self.recipe.get("evaluate")
        key = evaluate.get("key") if isinstance(evaluate, Mapping) else None
        return [str(name) for name in key] if isinstance(key, list) else []

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The final table as far as it goes. A stage that had its parent trained further noted those rows too."""
        rows = [row for stage in self.stages for row in stage.rows]
        places = [(row["stage"], row["moment"], row["warp"], row.get("data", "val")) for row in rows]
        return list(dict(zip(places, rows, strict=True)).values())

    @property
    def gates(self) -> list[dict[str, Any]]:
        """Every verdict with its stage."""
        return [{"stage": stage.name, **gate} for stage in self.stages for gate in stage.gates]


def read_run(path: Path) -> RunHistory:
    """Read a run; WorldError naming the file that is damaged."""
    recipe = read_json(path / RECIPE, name=str, stage=list)
    status = {"status": "running" if is_held(path / LOCK) else "killed"}
    if (path / STATUS).exists():
        status = read_json(path / STATUS, status=str)
    recent = list(_recent(path / EVENTS)) if status["status"] != "done" else []
    stages = list(_stages(path, recipe["stage"], status["status"], recent))
    report = path / REPORT
    rows = [row for stage in stages for row in stage.rows]
    return RunHistory(
        path=path,
        recipe=recipe,
        started=_started(path),
        state=status["status"],
        message=str(status.get("message", "")),
        stages=stages,
        last=_last(recipe, rows, recent),
        report=report if report.is_file() else None,
    )


def _stages(
    path: Path, tables: Sequence[Any], state: str, recent: Sequence[Mapping[str, Any]]
) -> Iterator[StageHistory]:
    # A stop is between two reports; the checkpoint that it writes tells its step.
    steps = {event["stage"]: event["step"] for event in recent if event["event"] in ("step", "checkpoint_saved")}
    for table in tables:
        if not (
            isinstance(table, Mapping) and isinstance(table.get("name"), str) and isinstance(table.get("steps"), int)
        ):
            raise WorldError(f"{path / RECIPE} is damaged: its stages are of another kind")
        yield _stage(path, table, table["name"], state, steps)
        longer = [extension.name.removeprefix("stage-") for extension in path.glob(f"stage-{table['name']}+*/")]
        for name in sorted(longer, key=lambda name: (len(name), name)):
            extended = {**table, "gate": [], "steps": _extended_by(tables, table["name"])}
            yield _stage(path, extended, name, state, steps)


def _stage(path: Path, table: Mapping[str, Any], name: str, state: str, steps: Mapping[str, int]) -> StageHistory:
    folder = path / f"stage-{name}"
    record: dict[str, Any] = {"rows": [], "gates": []}
    if not folder.is_dir():
        state = "waiting"
    elif (folder / RECORD).exists():
        record = read_record(folder / RECORD, status=str)
        state = "reused" if "reused" in record else record["status"]
    elif (folder / ENTRY).exists():
        record = read_record(folder / ENTRY)
    reused = record.get("reused")
    asks = [
        (gate.get("at", ""), gate.get("check", "")) for gate in table.get("gate") or () if isinstance(gate, Mapping)
    ]
    return StageHistory(
        name=name,
        title=str(table.get("title", "")),
        steps=table["steps"],
        state=state,
        step=table["steps"] if state in ("done", "reused") else steps.get(name, 0),
        seconds=record.get("seconds") if state == "done" else None,
        asks=asks,
        gates=record["gates"],
        rows=record["rows"],
        data=record["data"] if isinstance(record.get("data"), Mapping) else {},
        trained_in=reused.get("trained_in") if isinstance(reused, Mapping) else None,
    )


def _extended_by(tables: Sequence[Any], parent: str) -> int:
    """The steps of an extension of `parent`, which the gate that asks for it tells."""
    children = [table for table in tables if isinstance(table, Mapping) and table.get("init") == parent]
    gates = [gate for table in children for gate in table.get("gate") or () if isinstance(gate, Mapping)]
    return next((gate["extend"]["steps"] for gate in gates if gate.get("extend")), 0)


def _last(
    recipe: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], recent: Sequence[Mapping[str, Any]]
) -> tuple[str, float, str, str] | None:
    """The newest figure on the validation data: the first key metric, else the one that selects the best."""
    measured = [{**row, "data": row.get("data", "val")} for row in rows]
    measured += [{**event, **event["evaluation"]} for event in recent if event["event"] == "evaluated"]
    table = recipe.get("evaluate")
    evaluate = table if isinstance(table, Mapping) else {}
    for row in reversed(measured):
        if row["data"] == "val" and row["mean"]:
            key = evaluate.get("key")
            wanted = [*(key if isinstance(key, list) else ()), evaluate.get("best"), *row["mean"]]
            name = next(each for each in wanted if isinstance(each, str) and each in row["mean"])
            return name, row["mean"][name], row["moment"], row["stage"]
    return None


def _recent(path: Path) -> Iterator[dict[str, Any]]:
    """The last steps, checkpoints and evaluations that a run told of; a line that is cut or damaged is passed over."""
    with suppress(OSError), path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - TAIL, 0))
        for line in file.read().splitlines():
            with suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict) and _is_told(event):
                    yield event


def _is_told(event: Mapping[str, Any]) -> bool:
    """Whether it is an event that is read here, whole."""
    match event.get("event"):
        case "step" | "checkpoint_saved":
            return isinstance(event.get("stage"), str) and isinstance(event.get("step"), int)
        case "evaluated":
            told, found = ("stage", "moment", "data"), event.get("evaluation")
            whole = isinstance(found, dict) and are_figures(found.get("mean"))
            return whole and all(isinstance(event.get(name), str) for name in told)
    return False


def _started(path: Path) -> float:
    """When a run began: its first event tells, and without one its recipe."""
    with suppress(OSError, UnicodeDecodeError), (path / EVENTS).open() as file:
        if found := re.search(r'"time": (\d{1,11}(?:\.\d+)?)[,}]', file.readline()):
            return float(found[1])
    return (path / RECIPE).stat().st_mtime

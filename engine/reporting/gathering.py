"""All that a report shows of a run, as plain data gathered from its directory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.events import LOG
from engine.files import is_held
from engine.reporting.curves import bands, metric_curves, rounded, step_curves
from engine.reporting.run_files import RunFiles
from engine.reporting.timeline import Clock, stages_of
from engine.reporting.whole import holds
from engine.runs.directory import LOCK, RECIPE, STATUS

Event = Mapping[str, Any]

ROW: Mapping[str, type] = {"stage": str, "moment": str, "warp": str, "mean": dict, "base": dict}
GATE: Mapping[str, type] = {"check": str, "at": str, "status": str, "action": str, "reason": str}
ABLATIONS = ("shuffle", "zero")


def gather(run: Path) -> dict[str, Any]:
    """What a run has told so far, whether it is over or not; what is missing or damaged is left out and named."""
    files = RunFiles(run)
    events = files.events()
    status: Event = files.table(STATUS)
    turns = [event for event in events if event["event"] in ("run_started", "run_finished")]
    ended: Event = turns[-1] if turns else {}
    if ended.get("event") == "run_finished":  # which is told also where the status could not be written
        status = ended
    going = not status and is_held(run / LOCK)
    recipe = files.table(RECIPE)
    own = {name: files.events(f"stage-{name}", LOG) for name in files.stages()}
    records = {name: _record(files, name) for name in files.stages()}
    stages = stages_of(events, records, own, going)
    placed = bands(stages)
    key = _key(recipe)
    made = [event for event in events if event["event"] == "evaluated"]
    evaluations = [*made, *_of_reused(records, own, made)]
    clock = Clock(events)
    started = next((event for event in events if event["event"] == "run_started"), {})
    return {
        "name": str(recipe.get("name") or started.get("name") or run.parent.name),
        "description": str(recipe.get("description", "")),
        "directory": str(run),
        "id": run.name,
        "status": str(status.get("status") or ("running" if going else "killed")),
        "message": str(status.get("message", "")),
        "going": going,
        "device": started.get("device", ""),
        "began": _date(started.get("time")),
        "seconds": clock.total,
        "resumed": clock.resumed,
        "stages": stages,
        "bands": placed,
        "key": key,
        "rows": _rows(evaluations),
        "curves": [
            *step_curves({name: _steps(name, events, own) for name in (band["name"] for band in placed)}, placed),
            *metric_curves(evaluations, placed, key),
        ],
        "gates": [{**gate, "stage": stage["name"]} for stage in stages for gate in stage["gates"]],
        "ablations": list(_ablations(files, stages, key)),
        "warnings": _warnings(events),
        "recipe": recipe,
        "provenance": [files.table(path.name) for path in sorted(run.glob("provenance*.json"))],
        "plain_recipe": json.dumps(recipe, indent=2, ensure_ascii=False),
        "damaged": list(files.damaged),
    }


def _key(recipe: Mapping[str, Any]) -> list[str]:
    evaluate = recipe.get("evaluate")
    key = evaluate.get("key", []) if isinstance(evaluate, Mapping) else []
    return [str(name) for name in key]


def _record(files: RunFiles, stage: str) -> dict[str, Any]:
    """What a stage noted: at its end, or else at its beginning; without rows and gates of another kind."""
    folder = f"stage-{stage}"
    record = files.table(folder, "record.json") or files.table(folder, "entry.json")
    for name, kinds in {"rows": ROW, "gates": GATE}.items():
        noted = record.get(name)
        record[name] = [each for each in noted if holds(each, kinds)] if isinstance(noted, list) else []
    return record


def _steps(stage: str, events: Sequence[Event], own: Mapping[str, Sequence[Event]]) -> list[Event]:
    """The steps of a stage: those that this run made, or those that came with a stage that it took over."""
    made = [event for event in events if event["event"] == "step" and event["stage"] == stage]
    return made or [event for event in own.get(stage, ()) if event["event"] == "step" and event["stage"] == stage]


def _of_reused(records: Mapping[str, Any], own: Mapping[str, Sequence[Event]], known: Sequence[Event]) -> list[Event]:
    """The evaluations of stages that this run did not train: as their own events tell them, or else their records."""
    told = {event["stage"] for event in known}
    kept = [event for name, log in own.items() if name not in told for event in log if event["event"] == "evaluated"]
    told |= {event["stage"] for event in kept}
    rows = [row for name, record in records.items() if name not in told for row in record["rows"]]
    return kept + [
        {
            "event": "evaluated",
            **{name: row.get(name, "val") for name in ("stage", "moment", "warp", "data")},
            "evaluation": {"mean": row["mean"], "base_mean": row["base"]},
        }
        for row in rows
    ]


def _rows(evaluations: Sequence[Event]) -> list[dict[str, Any]]:
    """A row for what was measured before and after each stage; a later measurement replaces the one before it."""
    rows = {
        (event["stage"], event["moment"], event.get("data", "val"), event["warp"]): event
        for event in evaluations
        if event["moment"] in ("before", "after")
    }
    return [
        {
            "stage": stage,
            "moment": moment,
            "data": data,
            "warp": warp,
            "mean": _means(event["evaluation"]),
            "base": _means(event["evaluation"], "base_mean"),
        }
        for (stage, moment, data, warp), event in rows.items()
    ]


def _ablations(files: RunFiles, stages: Sequence[Event], key: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each metric and stage with a correction: the base alone, corrected, and with its signal taken away."""
    for stage in stages:
        found = dict(files.evaluations(stage["name"]))
        real = found.get("after-pred", {})
        base, mean = _means(real, "base_mean"), _means(real)
        names = [name.removeprefix("after-pred-") for name in found if name.startswith("after-pred-")]
        own = [name for name in names if name not in ABLATIONS]  # behind those that every injection has
        taken = {name: _means(found[f"after-pred-{name}"]) for name in (*ABLATIONS, *own) if name in names}
        for metric in key:
            if metric not in base or metric not in mean:
                continue
            yield {
                "stage": stage["name"],
                "metric": metric,
                "base": base[metric],
                "corrected": mean[metric],
                "true": _means(found.get("after-gt", {})).get(metric),
                "taken": {name: figures.get(metric) for name, figures in taken.items()},
                "samples": _pairs(real, metric),
            }


def _means(evaluation: Mapping[str, Any], name: str = "mean") -> dict[str, float]:
    means = evaluation.get(name)
    kept = means.items() if isinstance(means, Mapping) else ()
    return {metric: value for metric, value in kept if isinstance(value, int | float)}


def _pairs(evaluation: Mapping[str, Any], metric: str) -> list[tuple[float, float, str]]:
    """(base alone, corrected, sample) of each held-out sample on which both are defined."""
    if not holds(evaluation, {"base_per_sample": dict, "per_sample": dict, "ids": list}):
        return []
    alone, whole = (evaluation[name].get(metric) for name in ("base_per_sample", "per_sample"))
    if not isinstance(alone, list) or not isinstance(whole, list):
        return []
    pairs = zip(alone, whole, evaluation["ids"], strict=False)
    return [
        (one, other, str(name))
        for one, other, name in ((rounded(b), rounded(c), i) for b, c, i in pairs)
        if one is not None and other is not None
    ]


def _warnings(events: Sequence[Event]) -> list[str]:
    notes = [event for event in events if event["event"] == "note" and event["level"] == "warning"]
    return list(dict.fromkeys(str(event["text"]) for event in notes))


def _date(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))

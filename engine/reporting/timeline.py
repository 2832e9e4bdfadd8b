"""How a run went: its stages in order, what became of each, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]

NOT_REACHED = "not reached"
FROZEN = ("trainable", "frozen", "digest", "zero_gradient")
"""What is told of a stage once its frozen part is fixed."""


class Clock:
    """Seconds since a run began, without the time between an interruption and the resuming."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._starts: list[tuple[float, float]] = []
        """(time, seconds to take off from then on)"""
        idle = last = 0.0
        for event in events:
            now = event.get("time")
            if not isinstance(now, int | float):
                continue
            if not self._starts:
                idle = now
                self._starts.append((now, idle))
            elif event["event"] == "run_started" and event.get("resumed"):
                idle += max(now - last, 0.0)
                self._starts.append((now, idle))
            last = now
        self.total = self.at(last) if self._starts else 0.0
        self.resumed = len(self._starts) - 1 if self._starts else 0

    def at(self, time: float) -> float:
        """The seconds of a moment of the run."""
        return time - next((off for start, off in reversed(self._starts) if time >= start), self._starts[0][1])


def stages_of(
    events: Sequence[Event],
    records: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, Sequence[Event]],
    going: bool,
) -> list[dict[str, Any]]:
    """A table a stage, in the order in which they follow each other.

    records: what each stage noted at its end, as far as it did. own: the events that came with a stage that was taken
    from another run. state: "done", "reused", "running", "waiting", "not
    reached", or how the run ended while the stage was on. spans: (what, from, to) in seconds of the run.
    """
    clock = Clock(events)
    stages = {name: _blank(name, title, steps) for name, title, steps in _declared(events)}
    current: dict[str, Any] | None = None
    for event in events:
        kind, name = event["event"], event.get("stage", event.get("name"))
        if kind == "stage_started":
            stages = _with(stages, event)
            current = stages[event["name"]]
            current |= {"source": event["source"], "began": clock.at(event["time"]), "steps": event["steps"]}
            current["spans"].append(["prepared", clock.at(event["time"]), clock.at(event["time"])])
        elif name not in stages:
            continue
        stage = stages[name]
        if kind in ("step", "evaluated", "gate_decided", "stage_frozen", "stage_finished", "checkpoint_saved"):
            _spend(stage, event, clock.at(event["time"]))
        if kind == "stage_frozen":
            stage |= {key: event[key] for key in FROZEN}
        elif kind in ("step", "checkpoint_saved"):
            stage["done"] = event["step"]
        elif kind == "gate_decided":
            stage["gates"].append(gate_row(event) | {"time": clock.at(event["time"])})
        elif kind == "stage_finished":
            stage |= {"state": "done", "seconds": event["seconds"], "digest_after": event["frozen_digest"]}
    ended = [event for event in events if event["event"] == "run_finished"]
    for name, stage in stages.items():
        for event in own.get(name, ()) if stage["began"] is None else ():
            if event["event"] == "stage_frozen":
                stage |= {key: event[key] for key in FROZEN}
        _settle(stage, records.get(name, {}))
        if stage["state"] == "waiting" and stage["began"] is not None:
            stage["state"] = "running" if going else ended[-1]["status"] if ended else "killed"
            stage["spans"][-1][2] = clock.total  # notes, as of a picture drawn, begin and end no part of it
        elif stage["state"] == "waiting" and not going:
            stage["state"] = NOT_REACHED
    return list(stages.values())


def gate_row(event: Event) -> dict[str, Any]:
    """A gate's event as the table that its stage notes of it."""
    verdict = event["verdict"]
    return {**verdict, "check": event["check"], "at": event["at"], "action": event["action"]}


def _declared(events: Sequence[Event]) -> list[tuple[str, str, int]]:
    started = [event for event in events if event["event"] == "run_started"]
    return [(name, title, steps) for name, title, steps in (started[-1]["stages"] if started else ())]


def _blank(name: str, title: str, steps: int) -> dict[str, Any]:
    unknown = dict.fromkeys(("source", "began", "seconds", "trainable", "frozen", "digest", "digest_after", "reused"))
    lists: dict[str, Any] = {"spans": [], "gates": [], "zero_gradient": []}
    return {"name": name, "title": title, "steps": steps, "done": 0, "state": "waiting", **unknown, **lists}


def _with(stages: dict[str, dict[str, Any]], event: Event) -> dict[str, dict[str, Any]]:
    """The stages and the one that begins; an extension, as A+1-for-B, stands behind the stage that it extends."""
    name = event["name"]
    if name in stages:
        return stages
    parent = name.partition("+")[0]
    placed: dict[str, dict[str, Any]] = {}
    for each, stage in stages.items():
        if each.partition("+")[0] != parent and parent in (key.partition("+")[0] for key in placed):
            placed.setdefault(name, _blank(name, event["title"], event["steps"]))
        placed[each] = stage
    placed.setdefault(name, _blank(name, event["title"], event["steps"]))
    return placed


def _spend(stage: dict[str, Any], event: Event, now: float) -> None:
    """The time up to an event belongs to what the stage did then: it was prepared, it trained, or it was judged."""
    what = {"step": "trained", "stage_frozen": "prepared"}.get(event["event"])
    if what is None:
        trained = stage["done"] > 0
        finished = stage["done"] >= stage["steps"]
        what = "judged" if finished else "trained" if trained else "prepared"
    spans = stage["spans"]
    if not spans:
        spans.append([what, now, now])
    elif spans[-1][0] == what:
        spans[-1][2] = max(spans[-1][2], now)
    else:
        spans.append([what, spans[-1][2], now])


def _settle(stage: dict[str, Any], record: Mapping[str, Any]) -> None:
    """What the stage's own record says where the events of this run do not: a stage that was taken from another."""
    reused = record.get("reused")
    if record.get("status") == "done":
        stage["state"] = "reused" if isinstance(reused, Mapping) and stage["began"] is None else "done"
        stage["seconds"] = stage["seconds"] or record.get("seconds")
        stage["digest_after"] = stage["digest_after"] or record.get("frozen_digest")
        stage["digest"] = stage["digest"] or record.get("frozen_digest")
    if isinstance(reused, Mapping):
        stage["reused"] = str(reused.get("trained_in", ""))
    stage["gates"] = stage["gates"] or [dict(gate) for gate in record.get("gates", ()) if isinstance(gate, Mapping)]

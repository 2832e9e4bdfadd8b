"""What trackers are told of a run: its recipe, its figures on one axis of steps, the verdicts of its gates."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from engine import events
from engine.contracts import TrackedRun, Tracker
from engine.hookspecs import hookimpl
from engine.plugins import Plugins
from engine.recipe.schema import Recipe, TrackerTable
from engine.reporting.outbox import Outbox
from engine.reporting.report import REPORT

LONG = 200
"""Characters of a failure that are told: a client's message may hold all that it has tried."""


def build_trackers(plugins: Plugins, tables: Sequence[TrackerTable]) -> list[tuple[str, Tracker]]:
    """The trackers that a recipe asks for, with their names; raises what a factory says is missing."""
    return [(table.plugin, plugins.get("trackers", table.plugin).build(table.options)) for table in tables]


class Tracking:
    """Listens to a run and hands what it hears to every tracker. emit: tells the user of one that does not answer."""

    def __init__(
        self, recipe: Recipe, trackers: Sequence[tuple[str, Tracker]], emit: Callable[[events.Note], None]
    ) -> None:
        self._recipe, self._trackers, self._emit = recipe, trackers, emit
        self._begins = first_steps(recipe)
        self._steps = lengths(recipe)
        self._now, self._resumed = 0, False
        self._started, self._gates = set[str](), Counter[str]()
        self._outboxes: list[Outbox] = []
        self._warned: set[Outbox] = set()

    @hookimpl
    def engine_run_started(self, event: events.RunStarted) -> None:
        folder, self._resumed = event.directory.absolute(), event.resumed
        run = TrackedRun(event.name, folder.name, folder, event.resumed, dict(_flat(self._recipe.training())))
        self._outboxes = [Outbox(name, tracker, run) for name, tracker in self._trackers]
        self._tags({"run": str(folder), "device": event.device})

    @hookimpl
    def engine_stage_started(self, event: events.StageStarted) -> None:
        self._now = self._begins.get(event.name, self._now)
        self._steps[event.name] = event.steps  # an extension may be another gate's than the order says
        self._started.add(event.name)

    @hookimpl
    def engine_step(self, event: events.Step) -> None:
        self._now = self._begins[event.stage] + event.step
        names = ("loss", "learning_rate", "seconds_per_step", "data_share", "skipped")
        figures = {f"train/{name}": float(getattr(event, name)) for name in names}
        figures |= {f"train/loss.{name}": value for name, value in event.terms.items()}
        if event.gradient_norm is not None:
            figures["train/gradient_norm"] = event.gradient_norm
        self._figures(figures)

    @hookimpl
    def engine_evaluated(self, event: events.Evaluated) -> None:
        if event.moment != "before":
            step = self._steps[event.stage] if event.moment == "after" else int(event.moment.removeprefix("step "))
            self._now = self._begins[event.stage] + step
        found = event.evaluation
        self._figures(measured(event.data, event.warp, event.ablation, found.mean, found.base_mean))

    @hookimpl
    def engine_gate_decided(self, event: events.GateDecided) -> None:
        verdict = event.verdict
        self._verdict(event.stage, event.at, event.check, verdict.status, event.action, verdict.reason)

    @hookimpl(trylast=True)  # after the listener that writes the report
    def engine_run_finished(self, event: events.RunFinished) -> None:
        self._tell_of_the_stages_taken(event)
        report = event.directory.absolute() / REPORT
        outcome = {"status": event.status, "message": event.message, "report": str(report) if report.is_file() else ""}
        self._tags({name: text for name, text in outcome.items() if text})
        for outbox in self._outboxes:
            outbox.close(lambda tracker: tracker.end(event.status))
        self._warn()
        for outbox in self._outboxes:
            if outbox.missed:
                level, why = ("info", "") if outbox in self._warned else ("warning", "; it did not answer in time")
                self._note(level, outbox, f"missed {outbox.missed} of {outbox.given} messages of this run{why}")

    def _tell_of_the_stages_taken(self, event: events.RunFinished) -> None:
        """Figures and verdicts of stages that another run has made; an earlier part of a resumed run told its own."""
        if self._resumed:
            return
        for row in (each for each in event.summary if each["stage"] not in self._started):
            self._now = self._begins[row["stage"]] + (self._steps[row["stage"]] if row["moment"] == "after" else 0)
            self._figures(measured(row["data"], row["warp"], "none", row["mean"], row["base"]))
        for gate in (each for each in event.gates if each["stage"] not in self._started):
            self._verdict(*(gate[name] for name in ("stage", "at", "check", "status", "action", "reason")))

    def _verdict(self, stage: str, at: str, check: str, status: str, action: str, reason: str) -> None:
        gate = f"gate.{stage}.{at}.{check}"
        self._gates[gate] += 1  # one that is asked again, or stands twice in a stage, hides no verdict
        self._tags({_numbered(gate, self._gates[gate]): f"{status} ({action}): {reason}"})

    def _figures(self, figures: Mapping[str, float]) -> None:
        step = self._now
        self._put(lambda tracker: tracker.figures(step, figures))

    def _tags(self, tags: Mapping[str, str]) -> None:
        step = self._now
        self._put(lambda tracker: tracker.tags(step, tags))

    def _put(self, call: Callable[[Tracker], None]) -> None:
        for outbox in self._outboxes:
            outbox.put(call)
        self._warn()

    def _warn(self) -> None:
        """Say of each tracker once that it failed; here, because only this thread may tell of events."""
        for outbox in self._outboxes:
            if outbox.failure and outbox not in self._warned:
                self._warned.add(outbox)
                self._note("warning", outbox, f"failed, and the run goes on without it: {_short(outbox.failure)}")

    def _note(self, level: Any, outbox: Outbox, text: str) -> None:
        details = {"tracker": outbox.name, "given": outbox.given, "missed": outbox.missed}
        self._emit(events.Note(level, f"{outbox} {text}", details))


def first_steps(recipe: Recipe) -> dict[str, int]:
    """Where each stage begins on the axis of the whole run.

    Stages follow each other as in the recipe, and before each there is room for what its gates may train its parent
    further, so that a step has the same place in every run of the recipe, extended, resumed or reused.
    """
    begins, position = dict[str, int](), 0
    for name, steps in lengths(recipe).items():
        begins[name] = position
        position += steps
    return begins


def lengths(recipe: Recipe) -> dict[str, int]:
    """The steps of each stage, in order; what a stage's gates may train its parent further stands before it."""
    steps = dict[str, int]()
    for stage in recipe.stages:
        further = [gate.extend.steps for gate in stage.gates if gate.extend for _ in range(gate.extend.times)]
        steps |= {stage.extension(number): each for number, each in enumerate(further, 1)}
        steps[stage.name] = stage.steps
    return steps


def measured(
    data: str, warp: str, ablation: str, mean: Mapping[str, float], base: Mapping[str, float]
) -> dict[str, float]:
    """An evaluation's figures by name: "val/error", and "val-gt/error" where it was not aligned as at inference.

    The base alone is in "val-base/error", once: nothing aligns it.
    """
    place = "-".join([data, *(["gt"] if warp == "gt" else []), *([ablation] if ablation != "none" else [])])
    figures = {f"{place}/{name}": value for name, value in mean.items()}
    return figures if warp == "gt" else figures | {f"{place}-base/{name}": value for name, value in base.items()}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested data under its dotted name; tables in arrays are called by what calls them in a recipe."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        seen: Counter[str] = Counter()
        for number, item in enumerate(value):
            label = str(item.get("name") or item.get("check") or item.get("plugin") or number)
            seen[label] += 1
            yield from _flat(item, f"{name}.{_numbered(label, seen[label])}")
    else:
        yield name, json.dumps(value) if isinstance(value, list) else value


def _numbered(name: str, count: int) -> str:
    return f"{name}.{count}" if count > 1 else name


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONG else line[: LONG - 3] + "..."

"""The stages of a run as a timeline: what is done, running, waiting or reused, with the gates of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from engine import events
from engine.reporting.words import COLOURS, OVERRIDDEN, duration

STATE_COLOURS = {"done": "green", "reused": "cyan", "waiting": "dim", "running": "bold", "interrupted": "yellow"}
"""The states that are no failure; all others are."""


@dataclass
class Line:
    """A stage; `gates`: (at, check) -> the last verdict, None before it was asked."""

    name: str
    title: str
    steps: int
    state: str = "waiting"
    step: int = 0
    seconds: float | None = None
    gates: dict[tuple[str, str], Mapping[str, Any] | None] = field(default_factory=dict)

    def judge(self, gates: Iterable[Mapping[str, Any]]) -> None:
        """Note verdicts, as in `RunFinished.gates`."""
        for gate in gates:
            self.gates[gate["at"], gate["check"]] = gate


class Timeline:
    """The lines of a run, which follow its events."""

    def __init__(self, started: events.RunStarted) -> None:
        self.lines = [Line(name, title, steps) for name, title, steps in started.stages]
        for stage, at, check in started.gates:
            self._line(stage).gates[at, check] = None

    def _line(self, name: str) -> Line:
        return next(line for line in self.lines if line.name == name)

    def started(self, event: events.StageStarted) -> None:
        """A stage begins, or the extension of one, which gets a line of its own before the stage that asked for it."""
        if event.name not in [line.name for line in self.lines]:
            asking = next((place for place, line in enumerate(self.lines) if line.state == "running"), 0)
            self.lines.insert(asking, Line(event.name, event.title, event.steps))
        self._line(event.name).state = "running"

    def stepped(self, event: events.Step | events.CheckpointSaved) -> None:
        """A stage got on; where it is stopped between two reports, its last checkpoint tells how far."""
        self._line(event.stage).step = event.step

    def judged(self, event: events.GateDecided) -> None:
        """A gate was asked."""
        verdict = {"check": event.check, "at": event.at, "status": event.verdict.status, "action": event.action}
        self._line(event.stage).judge([verdict])

    def finished(self, event: events.StageFinished) -> None:
        """A stage is over."""
        line = self._line(event.name)
        line.state, line.seconds, line.step = "done", event.seconds, line.steps

    def noted(self, event: events.Note) -> None:
        """A stage has work behind it, here or in another run."""
        if "gates" not in event.details:
            return
        line = self._line(event.details["stage"])
        line.judge(event.details["gates"])
        if taken := event.details.get("taken"):
            line.state, line.step = {"here": "done", "reused": "reused"}[taken], line.steps

    def ended(self, event: events.RunFinished) -> None:
        """The run is over; the stage that it was in ended as it did."""
        for line in self.lines:
            if line.state == "running":
                line.state = event.status

    def table(self) -> Table:
        """The timeline as it stands."""
        return stage_table([vars(line) for line in self.lines])

    def below(self) -> Table:
        """The same in fewer lines, for the foot of a terminal."""
        table = self.table()
        table.title = table.box = None
        table.header_style = "dim"
        return table


def stage_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Stages, each a mapping with the fields of `Line`."""
    table = Table(title="stages", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("stage", "state", "steps", "took"):
        table.add_column(name, justify="right" if name in ("steps", "took") else "left", no_wrap=True)
    table.add_column("gates")
    for line in lines:
        colour = STATE_COLOURS.get(line["state"], "red")
        title = f" {escape(line['title'])}" if line["title"] else ""
        steps = f"{line['step']} of {line['steps']}" if 0 < line["step"] < line["steps"] else str(line["steps"])
        took = "" if line["seconds"] is None else duration(line["seconds"])
        gates = "; ".join(_gate(at, check, given) for (at, check), given in line["gates"].items())
        table.add_row(
            f"{escape(line['name'])}{title}", f"[{colour}]{escape(line['state'])}[/{colour}]", steps, took, gates
        )
    return table


def _gate(at: str, check: str, given: Mapping[str, Any] | None) -> str:
    name = f"{at} {escape(check)}"
    if given is None:
        return f"[dim]{name}[/dim]"
    overridden = ", overridden" if given["action"] == OVERRIDDEN else ""
    colour = COLOURS.get(given["status"], "red")
    return f"{name} [{colour}]{given['status'].upper()}{overridden}[/{colour}]"

"""The quiet console: what somebody must know, and nothing that is as it should be."""

from __future__ import annotations

from rich.console import Console

from engine import events
from engine.hookspecs import hookimpl
from engine.reporting.words import end, note, say, verdict


class QuietReport:
    """Prints warnings, gates that do not pass, and how the run ended."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @hookimpl
    def engine_gate_decided(self, event: events.GateDecided) -> None:
        if event.verdict.status != "pass":
            for line in verdict(event):
                say(self.console, line)

    @hookimpl
    def engine_note(self, event: events.Note) -> None:
        if event.level == "warning":
            say(self.console, note(event))

    @hookimpl
    def engine_run_finished(self, event: events.RunFinished) -> None:
        say(self.console, end(event))

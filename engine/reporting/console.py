"""The console: a line an event; on a terminal the timeline of the stages and a progress bar stand below the lines."""

from __future__ import annotations

import atexit
import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from engine import events
from engine.hookspecs import hookimpl
from engine.reporting.stage_lines import Timeline
from engine.reporting.tables import gate_table, summary_table
from engine.reporting.words import end, figures, losses, note, pace, say, verdict

PLAIN_EVERY = 10
"""Without a terminal, every how many percent of a stage a line tells how far it is."""
REDRAW_AFTER = 0.5
"""Seconds between two drawings of the bar: each takes some milliseconds from the training. Every line draws it too."""
ECHOED = 2
"""Columns left free at the end of a line, for the "^C" that a terminal writes there: in a new line it would stay."""
RECENT = 0.3
"""What the newest report of the time a step takes counts in the mean that tells the time left."""


class ConsoleReport:
    """Prints the story of a run. `key` are the metrics worth a column."""

    def __init__(self, console: Console, key: Sequence[str]) -> None:
        self.console = console
        self.key = key
        self._draws = console.is_terminal and not console.is_dumb_terminal
        self._live: Live | None = None
        self._timeline: Timeline | None = None
        self._bar: tuple[str, int, int, Sequence[str]] | None = None
        self._told = 0
        self._drawn = 0.0
        self._seconds_per_step = 0.0
        self._measured = ""

    def say(self, text: str) -> None:
        """One line; square brackets in `text` are markup."""
        say(self.console, text)

    def _tell(self, what: str, done: int, total: int, *notes: str) -> None:
        """How far something is: a bar with the notes below it, or without a terminal a line now and then."""
        if self._draws:
            self._bar = None if done == total else (what, done, total, notes)
            if done == total and self._timeline is None:
                self._close()
            elif time.monotonic() >= self._drawn + REDRAW_AFTER or done == total:
                self._open().refresh()
                self._drawn = time.monotonic()
            return
        percent = 100 * done // max(total, 1)
        if percent >= self._told + PLAIN_EVERY or done == total:
            self._told = 0 if done == total else percent - percent % PLAIN_EVERY
            self.say(escape("  ".join(filter(None, (f"  {what} {done}/{total}", *notes)))))

    def _open(self) -> Live:
        if self._live is None:
            self._live = Live(self, console=self.console, auto_refresh=False, transient=True)
            self._live.start()
            atexit.register(self._close)  # the terminal must get its cursor back, however this ends
        return self._live

    def _close(self) -> None:
        if self._live is not None:
            self._bar = None
            self._live.stop()
            self._live = None
            atexit.unregister(self._close)

    def __rich__(self) -> RenderableType:
        """What stands below the lines of the terminal now."""
        parts: list[RenderableType] = []
        if self._timeline is not None:
            parts += [Rule(style="dim"), Constrain(self._timeline.below(), self.console.width - ECHOED)]
        if self._bar is not None:
            what, done, total, notes = self._bar
            row = Table.grid(padding=(0, 1))
            row.add_row(f"  {escape(what)}", ProgressBar(total, done, width=30), f"{done}/{total}", escape(notes[0]))
            parts += [row, *(Text(f"    {each}", no_wrap=True, overflow="ellipsis") for each in notes[1:] if each)]
        return Group(*parts)

    @hookimpl
    def engine_run_started(self, event: events.RunStarted) -> None:
        verb = "resumes" if event.resumed else "starts"
        stages = " -> ".join(f"{name} ({steps} steps)" for name, _, steps in event.stages)
        self.say(f"[bold]{event.name}[/bold] {verb} on {event.device}: {stages}")
        self.say(f"  {escape(str(event.directory))}")
        self._timeline = Timeline(event)
        if self._draws:
            self._open().refresh()

    @hookimpl
    def engine_stage_started(self, event: events.StageStarted) -> None:
        self._seconds_per_step, self._measured = 0.0, ""
        if self._timeline is not None:
            self._timeline.started(event)
        title = f" {escape(event.title)}" if event.title else ""
        self.say(
            f"[bold]stage {event.name}[/bold]{title} ({event.index + 1} of {event.total}), from {escape(event.source)}"
        )

    @hookimpl
    def engine_stage_frozen(self, event: events.StageFrozen) -> None:
        digest = "" if event.digest == events.NOTHING_FROZEN else f" (digest {event.digest[:12]})"
        self.say(f"  trains {event.trainable:,} parameters, {event.frozen:,} frozen{digest}")
        if event.zero_gradient:
            self.say(
                f"  {len(event.zero_gradient)} trainable tensors start with a gradient of 0, as behind a zero layer"
            )

    @hookimpl
    def engine_step(self, event: events.Step) -> None:
        before = self._seconds_per_step or event.seconds_per_step
        self._seconds_per_step = (1 - RECENT) * before + RECENT * event.seconds_per_step
        left = (event.steps - event.step) * self._seconds_per_step
        if self._timeline is not None:
            self._timeline.stepped(event)
        self._tell(f"stage {event.stage}", event.step, event.steps, pace(event, left), losses(event), self._measured)

    @hookimpl
    def engine_evaluated(self, event: events.Evaluated) -> None:
        told = figures(event.evaluation.mean, event.evaluation.base_mean, self.key)
        warp = {"off": "", "gt": ", aligned by ground truth", "pred": ", aligned by prediction"}[event.warp]
        on = "" if event.data == "val" else f", on {event.data}"
        self.say(escape(f"  {event.moment} {event.stage}{warp}{on}: {told}"))
        if event.data == "val":
            self._measured = f"{event.moment}: {told}"

    @hookimpl
    def engine_gate_decided(self, event: events.GateDecided) -> None:
        if self._timeline is not None:
            self._timeline.judged(event)
        for line in verdict(event):
            self.say(f"  {line}")

    @hookimpl
    def engine_checkpoint_saved(self, event: events.CheckpointSaved) -> None:
        if self._timeline is not None:
            self._timeline.stepped(event)

    @hookimpl
    def engine_stage_finished(self, event: events.StageFinished) -> None:
        if self._timeline is not None:
            self._timeline.finished(event)
        nothing = event.frozen_digest == events.NOTHING_FROZEN
        kept = "" if nothing else f"; frozen unchanged (digest {event.frozen_digest[:12]})"
        self.say(f"  stage {event.name} done in {event.seconds:.0f} s{kept}")

    @hookimpl
    def engine_note(self, event: events.Note) -> None:
        if self._timeline is not None:
            self._timeline.noted(event)
        if "total" in event.details:
            self._tell(event.text, event.details["done"], event.details["total"], "")
        else:
            self.say(f"  {note(event)}")

    @hookimpl
    def engine_run_finished(self, event: events.RunFinished) -> None:
        self._close()
        if self._timeline is not None:
            self._timeline.ended(event)
            self.console.print(self._timeline.table())
        if event.summary:
            self.console.print(summary_table(event.summary, self.key))
        if event.gates:
            # What to do about the one that stopped the run is said by the error that follows.
            self.console.print(
                gate_table([{**gate, "advice": ""} if gate["action"] == "stop" else gate for gate in event.gates])
            )
        self.say(end(event))

"""The console: a line an event, and a progress bar where the output is a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engine import events
from engine.hookspecs import hookimpl
from engine.reporting.tables import gate_table, summary_table

COLOURS = {"pass": "green", "warn": "yellow", "undetermined": "yellow", "nothing-to-gain": "yellow", "fail": "red"}
PLAIN_EVERY = 10
"""Without a terminal, every how many percent of a stage a line tells how far it is."""
REDRAWN = 4
"""How often a second the bar is drawn: each time takes a millisecond or two from the training."""


class ConsoleReport:
    """Prints the story of a run. `key` are the metrics worth a column."""

    def __init__(self, console: Console, key: Sequence[str]) -> None:
        self.console = console
        self.key = key
        self._progress: Progress | None = None
        self._task: Any = None
        self._told = 0

    def say(self, text: str) -> None:
        """One line; square brackets in `text` are markup."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def _bar(self, what: str, done: int, total: int, note: str) -> None:
        if not self.console.is_terminal:
            percent = 100 * done // max(total, 1)
            if percent >= self._told + PLAIN_EVERY or done == total:
                self._told = percent - percent % PLAIN_EVERY
                self.say(f"  {escape(what)} {done}/{total}  {note}")
            if done == total:
                self._told = 0
            return
        if self._progress is None:
            columns = (
                TextColumn("  {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._progress = Progress(*columns, console=self.console, transient=True, refresh_per_second=REDRAWN)
            self._task = self._progress.add_task(escape(what), total=total, note=note)
            self._progress.start()
        self._progress.update(self._task, description=escape(what), completed=done, total=total, note=note)
        if done == total:
            self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    @hookimpl
    def engine_run_started(self, event: events.RunStarted) -> None:
        verb = "resumes" if event.resumed else "starts"
        stages = " -> ".join(f"{name} ({steps} steps)" for name, _, steps in event.stages)
        self.say(f"[bold]{event.name}[/bold] {verb} on {event.device}: {stages}")
        self.say(f"  {escape(str(event.directory))}")

    @hookimpl
    def engine_stage_started(self, event: events.StageStarted) -> None:
        title = f" {escape(event.title)}" if event.title else ""
        self.say(
            f"[bold]stage {event.name}[/bold]{title} ({event.index + 1} of {event.total}), from {escape(event.source)}"
        )

    @hookimpl
    def engine_stage_frozen(self, event: events.StageFrozen) -> None:
        self.say(f"  trains {event.trainable:,} parameters, {event.frozen:,} frozen (digest {event.digest[:12]})")
        if event.zero_gradient:
            self.say(
                f"  {len(event.zero_gradient)} trainable tensors start with a gradient of 0, as behind a zero layer"
            )

    @hookimpl
    def engine_step(self, event: events.Step) -> None:
        note = f"loss {event.loss:.3f}  {event.seconds_per_step * 1e3:.0f} ms/step  data {event.data_share:.0%}"
        if event.skipped:
            note += f"  skipped {event.skipped}"
        self._bar(f"stage {event.stage}", event.step, event.steps, note)

    @hookimpl
    def engine_evaluated(self, event: events.Evaluated) -> None:
        means, base = event.evaluation.mean, event.evaluation.base_mean
        figures = "  ".join(
            f"{escape(name)} {means[name]:.3f}" + (f" \\[base {base[name]:.3f}]" if name in base else "")
            for name in self.key
            if name in means
        )
        warp = {"off": "", "gt": ", aligned by ground truth", "pred": ", aligned by prediction"}[event.warp]
        on = "" if event.data == "val" else f", on {escape(event.data)}"
        self.say(f"  {event.moment} {event.stage}{warp}{on}: {figures}")

    @hookimpl
    def engine_gate_decided(self, event: events.GateDecided) -> None:
        verdict, colour = event.verdict, COLOURS[event.verdict.status]
        self.say(
            f"  gate {escape(event.check)} at {event.at} of {event.stage}: "
            f"[{colour}]{verdict.status.upper()}[/{colour}] ({event.action}) {escape(verdict.reason)}"
        )
        if verdict.advice and verdict.status != "pass":
            self.say(f"    {escape(verdict.advice)}")

    @hookimpl
    def engine_stage_finished(self, event: events.StageFinished) -> None:
        self.say(
            f"  stage {event.name} done in {event.seconds:.0f} s; frozen unchanged (digest {event.frozen_digest[:12]})"
        )

    @hookimpl
    def engine_note(self, event: events.Note) -> None:
        if "total" in event.details:
            self._bar(event.text, event.details["done"], event.details["total"], "")
        else:
            colour = "yellow" if event.level == "warning" else "dim"
            self.say(f"  [{colour}]{escape(event.text)}[/{colour}]")

    @hookimpl
    def engine_run_finished(self, event: events.RunFinished) -> None:
        self._close()
        if event.summary:
            self.console.print(summary_table(event.summary, self.key))
        if event.gates:
            self.console.print(gate_table(event.gates))
        colour = "green" if event.status == "done" else "red"
        self.say(f"[{colour}]{event.status}[/{colour}] after {event.seconds:.0f} s  {escape(str(event.directory))}")

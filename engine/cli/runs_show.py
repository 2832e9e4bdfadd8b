"""`engine runs show`: one run, from its directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from engine.cli.opening import JsonOption, RunsOption, console, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from engine.runs.history import RunHistory

RESUMED = ("interrupted", "failed", "killed")
"""Runs that may go on as they are; one that was refused or diverged asks for another recipe."""
RUN = "A run's directory, or enough of its name under --runs to mean one run alone."


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help=RUN, show_default=False)],
    runs: RunsOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Show a run as its own end did: stages with their gates, held-out figures, verdicts, and where its report is.

    engine runs show runs/RECIPE/TIME-ID

    engine runs show 3f9a2c
    """
    from engine.runs.directory import find
    from engine.runs.history import read_run

    history = read_run(find(runs, run))
    out = console(as_json=json)
    if json:
        print_json(_as_data(history))
        return
    _print(out, history)


def _print(out: Console, run: RunHistory) -> None:
    from engine.reporting.run_tables import when
    from engine.reporting.stage_lines import stage_table
    from engine.reporting.tables import gate_table, summary_table

    out.print(
        f"[bold]{escape(run.name)}[/bold] is {escape(run.state)}, started {when(run.started)}: {escape(str(run.path))}",
        soft_wrap=True,
    )
    if run.message:
        out.print(escape(f"  {run.message}"), soft_wrap=True)
    out.print(stage_table([{**vars(stage), "gates": _gates(stage)} for stage in run.stages]))
    for stage in run.stages:
        if stage.trained_in:
            out.print(escape(f"stage {stage.name} was trained in {stage.trained_in}"), soft_wrap=True)
    if run.rows:
        measured = run.key or list(dict.fromkeys(name for row in run.rows for name in row["mean"]))
        out.print(summary_table(run.rows, measured))
    if run.gates:
        out.print(gate_table(run.gates))
    if run.state in RESUMED:
        out.print(f"go on with: engine run {escape(str(run.path))} --resume", soft_wrap=True)
    if run.report:
        out.print(f"report: {escape(str(run.report))}", soft_wrap=True)


def _gates(stage: Any) -> dict[tuple[str, str], Any]:
    return dict.fromkeys(stage.asks) | {(gate["at"], gate["check"]): gate for gate in stage.gates}


def _as_data(run: RunHistory) -> dict[str, Any]:
    about = {"name": run.name, "path": run.path, "started": run.started, "state": run.state, "message": run.message}
    more = ("name", "title", "state", "step", "steps", "seconds", "trained_in")
    stages = [{name: getattr(stage, name) for name in more} for stage in run.stages]
    return {**about, "stages": stages, "rows": run.rows, "gates": run.gates, "report": run.report}

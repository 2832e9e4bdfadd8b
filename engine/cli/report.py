"""`engine report` and `engine watch`: a run as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import console
from engine.errors import InputError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.", show_default=False)]


def report(run: RunArgument) -> None:
    """Write report.html of a run again: stages, gates, curves, pictures and origin in one file that needs no network.

    Every run writes it at its end, also when it was refused, failed or was interrupted. While a run goes on, the report
    shows what it has told so far.

        engine report runs/RECIPE/RUN
    """
    from engine.reporting.report import write_report

    console().print(f"report: {write_report(checked(run))}", soft_wrap=True, markup=False)


def watch(
    run: RunArgument,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 8420,
) -> None:
    """Serve the report of a run on 127.0.0.1 and keep it up to date while the run goes. Ctrl-C ends it.

    Nothing but the page is served, and nothing can be changed through it.

        engine watch runs/RECIPE/RUN

        engine watch runs/RECIPE/RUN --port 0
    """
    from engine.reporting.live import Watch

    server = Watch(checked(run), port)
    console().print(f"watching {run} at {server.address}; Ctrl-C ends it", soft_wrap=True, markup=False)
    server.serve()


def checked(run: Path) -> Path:
    """The directory of a run; InputError for a path that is none."""
    from engine.runs.directory import is_run

    if not is_run(run):
        newest = max(run.glob("*/recipe.json"), default=None, key=lambda path: path.parent.name)
        hint = f"for example {newest.parent}" if newest else "runs are directories runs/RECIPE/TIME-ID"
        raise InputError(f"{run} is not the directory of a run", hint)
    return run

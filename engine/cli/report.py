"""`engine report` and `engine watch`: a run as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import RunsOption, console
from engine.cli.runs_show import RUN

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=RUN, show_default=False)]


def report(run: RunArgument, runs: RunsOption = Path("runs")) -> None:
    """Write report.html of a run again: stages, gates, curves, pictures and origin in one file that needs no network.

    Every run writes it at its end, also when it was refused, failed or was interrupted. While a run goes on, the report
    shows what it has told so far.

        engine report runs/RECIPE/TIME-ID

        engine report 3f9a2c
    """
    from engine.reporting.report import write_report
    from engine.runs.directory import find

    console().print(f"report: {write_report(find(runs, run))}", soft_wrap=True, markup=False)


def watch(
    run: RunArgument,
    runs: RunsOption = Path("runs"),
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 8420,
) -> None:
    """Serve the report of a run on 127.0.0.1 and keep it up to date while the run goes. Ctrl-C ends it.

    Nothing but the page is served, and nothing can be changed through it.

        engine watch runs/RECIPE/TIME-ID

        engine watch 3f9a2c --port 0
    """
    from engine.reporting.live import Watch
    from engine.runs.directory import find

    folder = find(runs, run)
    server = Watch(folder, port)
    console().print(f"watching {folder} at {server.address}; Ctrl-C ends it", soft_wrap=True, markup=False)
    server.serve()

"""`report.html`: written when a run is over, however it ended, and again by `engine report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine import events
from engine.errors import WorldError
from engine.files import write_whole
from engine.hookspecs import hookimpl

REPORT = "report.html"


def write_report(run: Path) -> Path:
    """Write the report of a run, over or not, into its directory; WorldError on a full disk."""
    from engine.reporting.gallery import gather_pictures
    from engine.reporting.gathering import gather
    from engine.reporting.page_of import page

    figures = gather(run)
    text = page(figures, gather_pictures(run, [stage["name"] for stage in figures["stages"]]))
    path = run / REPORT
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    return path


class Report:
    """Writes the report at the end of a run; says where it is, unless `quiet`, or why there is none."""

    def __init__(self, say: Callable[[str], None], quiet: bool = False) -> None:
        self._say = say
        self._quiet = quiet

    # The last of all, so that what it shows is complete, and its path is the last that a reader sees.
    @hookimpl(trylast=True)
    def engine_run_finished(self, event: events.RunFinished) -> None:
        try:
            path = write_report(event.directory)
        except WorldError as error:  # the run itself has ended as it has; a report can be made again
            self._say(f"no report: {error}; `engine report {event.directory}` makes it")
            return
        if not self._quiet:
            self._say(f"report: {path}")

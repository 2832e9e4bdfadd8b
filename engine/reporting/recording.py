"""What every run keeps of itself: its event log, its report, and what the trackers of its recipe are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from engine.recipe.schema import TrackerTable
from engine.reporting.event_log import EventLog
from engine.reporting.report import Report
from engine.reporting.tracking import Tracking, build_trackers
from engine.stages.session import Session


@contextmanager
def recording(
    session: Session, trackers: Sequence[TrackerTable], say: Callable[[str], None], quiet: bool = False
) -> Iterator[None]:
    """Record a run that happens in the body; `say` is told where the report is, if quiet only why there is none."""
    with ExitStack() as stack:
        stack.enter_context(session.plugins.listening(EventLog(), "event log"))
        stack.enter_context(session.plugins.listening(Report(say, quiet), "report"))
        if session.leads and trackers:
            told = Tracking(session.recipe, build_trackers(session.plugins, trackers), session.emit)
            stack.enter_context(session.plugins.listening(told, "tracking"))
        yield

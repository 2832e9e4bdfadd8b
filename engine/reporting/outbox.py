"""A tracker in a thread of its own: whatever it does, the thread that trains only puts a call into a queue."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from engine.contracts import TrackedRun, Tracker
from engine.errors import EngineError
from engine.registered import guarded

ROOM = 1000
"""Calls that may wait: minutes of a run that tells every few steps, and less memory than a picture."""
QUIET = 10.0
"""Seconds after a failure in which nothing is tried: every try takes time from the thread that trains."""
PATIENCE = 5.0
"""Seconds without a call done after which the end of a run waits no longer."""
LONGEST = 30.0
"""Seconds that the end of a run waits at most, even where the tracker goes on well."""

Call = Callable[[Tracker], None]


class Outbox:
    """The calls on their way to a tracker that has been told of `run`.

    failure: the first one, in words; empty while there is none. given, delivered: how many calls.
    """

    def __init__(self, name: str, tracker: Tracker, run: TrackedRun) -> None:
        self.name, self.failure = name, ""
        self.given = self.delivered = 0
        self._tracker, self._run = tracker, run
        self._waiting: SimpleQueue[Call | None] = SimpleQueue()
        self._begun, self._silent_until, self._handled = False, 0.0, 0
        self._last: Call | None = None
        # A daemon: a server that does not answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._deliver, name=f"tracker {name}", daemon=True)
        self._thread.start()
        self.put(lambda tracker: None)  # so that the run begins there before its first figure

    def __str__(self) -> str:
        # A stranger's attribute, read by the thread that trains: one that is missing must not end the run.
        where = ""
        with suppress(EngineError), guarded("it does not say where"):
            where = f" ({self._tracker.where})"
        return f"tracker {self.name!r}{without_password(where)}"

    @property
    def missed(self) -> int:
        """How many calls did not arrive; those that still wait are among them."""
        return self.given - self.delivered

    def put(self, call: Call) -> None:
        """Hand a call over, at once; it is dropped where too many wait already."""
        self.given += 1
        if self._waiting.qsize() < ROOM:
            self._waiting.put(call)

    def close(self, last: Call | None = None) -> None:
        """Wait for the calls that are on their way, as long as that goes on well.

        last: one more, that the run is over: it finds room, and a failure just before it does not keep it back, because
        none comes later. Else a server would take the run for one that goes on.
        """
        if last is not None:
            self.given, self._last = self.given + 1, last
        self._waiting.put(None)
        until, handled = time.monotonic() + LONGEST, -1
        while self._thread.is_alive() and self._handled > handled and time.monotonic() < until:
            handled = self._handled
            self._thread.join(PATIENCE)

    def _deliver(self) -> None:
        while (call := self._waiting.get()) is not None:
            if time.monotonic() >= self._silent_until:
                self._try(call)
            self._handled += 1
        if self._last is not None and (self._begun or time.monotonic() >= self._silent_until):
            self._try(self._last)

    def _try(self, call: Call) -> None:
        try:
            with guarded("no answer"):
                if not self._begun:
                    self._tracker.begin(self._run)
                    self._begun = True
                call(self._tracker)
            self.delivered += 1
        except EngineError as error:
            self._silent_until = time.monotonic() + QUIET
            self.failure = self.failure or without_password(str(error))


def without_password(text: str) -> str:
    """A text that is kept with the run, without the name and the password that addresses in it may hold."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)

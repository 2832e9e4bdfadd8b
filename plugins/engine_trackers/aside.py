"""What a library prints, kept out of standard output, which may carry JSON."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO


@contextmanager
def aside() -> Iterator[None]:
    """What this thread prints goes to standard error; what the others print, who share `sys.stdout`, where it would."""
    with redirect_stdout(_Others(sys.stdout)):  # type: ignore[type-var]  # it has all that the real one has
        yield


class _Others:
    """Standard output for every thread but the one that made this."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._thread = out, threading.get_ident()

    def write(self, text: str) -> int:
        """Write to where the calling thread's text belongs."""
        return (sys.stderr if threading.get_ident() == self._thread else self._out).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)

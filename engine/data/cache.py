"""What is computed once and kept between runs: a folder of the cache, complete under its final name or not there."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from engine.errors import WorldError
from engine.files import sync

POLL = 0.1
"""Seconds between two looks at a folder that somebody else makes."""


def cache_directory(kind: str) -> Path:
    """The folder of the cache for one kind of thing, which may not be there yet.

    It is in $ENGINE_CACHE, else in `engine` below $XDG_CACHE_HOME or ~/.cache.
    """
    if named := os.environ.get("ENGINE_CACHE"):
        return Path(named) / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engine" / kind


def made_once(path: Path, make: Callable[[Path], None], waiting: Callable[[], None] = lambda: None) -> bool:
    """Let `make` fill a folder that then becomes `path`, unless it is there; whether this process made it.

    Of several processes that want the same folder one makes it and the others wait for it; while they do, `waiting` is
    called again and again, and may raise to give up. An interrupted `make` leaves nothing under the final name, and the
    next one removes what it left elsewhere. Raises WorldError where the cache cannot be written, and what both raise.
    """
    if path.exists():
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as handle:
            while not _locked(handle):
                waiting()
                time.sleep(POLL)
            if path.exists():
                return False
            for left_over in path.parent.glob(f"{path.name}.partial-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            partial = path.with_name(f"{path.name}.partial-{secrets.token_hex(4)}")
            try:
                make(partial)
                for item in [*partial.rglob("*"), partial]:
                    sync(item)
                partial.rename(path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            sync(path.parent)
    except OSError as error:
        raise WorldError(f"{path} cannot be written: {error}") from error
    return True


def _locked(handle: IO[str]) -> bool:
    """Take a lock that the system takes back when its process dies, however it dies; False where somebody holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

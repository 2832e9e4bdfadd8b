"""What is computed once and kept between runs: a folder of the cache, complete under its final name or not there.

Beside every folder X.zarr lies X.lock. Who makes or removes the folder holds it alone; who reads the folder may share
it, so that nobody removes it meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import WorldError
from engine.files import sync

POLL = 0.1
"""Seconds between two looks at a folder that somebody else makes."""


def cache_directory(kind: str) -> Path:
    """The folder of the cache for one kind of thing, which may not be there yet.

    It is in $ENGINE_CACHE, else in `engine` below $XDG_CACHE_HOME or ~/.cache. WorldError for a user without a home.
    """
    if named := os.environ.get("ENGINE_CACHE"):
        return Path(named) / kind
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engine" / kind
    except RuntimeError as error:  # a container runs as a user that it does not know
        raise WorldError("this user has no home directory for a cache: let ENGINE_CACHE name a folder") from error


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
        while (lock := Lock.taken(path)) is None:
            if path.exists():  # who made it may go on holding the lock, as a reader
                return False
            waiting()
            time.sleep(POLL)
        with lock:
            if path.exists():
                return False
            for left_over in path.parent.glob(f"{path.name}.partial-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            partial = path.with_name(f"{path.name}.partial-{os.urandom(4).hex()}")
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


class Lock:
    """The lock of a folder of the cache, held until it is closed or forgotten; the system frees it at any death."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @classmethod
    def taken(cls, folder: Path, shared: bool = False) -> Lock | None:
        """The lock of `folder`, alone or `shared` with others; None where somebody holds it otherwise. OSError."""
        path = folder.with_suffix(".lock")
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return None
            if _is_at(handle, path):
                return cls(handle)
            os.close(handle)  # it was removed with its folder before it was taken

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give it back."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


def _is_at(handle: int, path: Path) -> bool:
    try:
        return path.stat().st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        return False


def opened(path: Path, make: Callable[[Path], None], waiting: Callable[[], None]) -> tuple[bool, Lock]:
    """`made_once`, and a lock that keeps the folder there; its last use is now."""
    while True:
        made = made_once(path, make, waiting)
        lock = Lock.taken(path, shared=True)
        if lock is not None and path.exists():
            os.utime(path.with_suffix(".lock"))
            return made, lock
        waiting()  # somebody removes it, or makes it again
        time.sleep(POLL)

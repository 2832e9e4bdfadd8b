"""The size of the frozen-output cache: what lies there, and what goes when a new store needs room."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.data.cache import Lock, cache_directory
from engine.errors import InputError, Problem, WorldError

KIND = "frozen"
LIMIT = "ENGINE_CACHE_GB"
DEFAULT_LIMIT = 50.0
"""GB: room for some tens of thousands of frames, and less than a workstation's disk is likely to miss."""

GB = 1e9


class NoRoomError(WorldError):
    """Stores that are open leave too little room for another."""


@dataclass(frozen=True)
class Stored:
    """A store of frozen outputs, or what an interrupted process left of one; used: when last, seconds since 1970."""

    path: Path
    size: int
    used: float

    @property
    def lock_of(self) -> Path:
        """The folder whose lock is this one's."""
        return self.path.with_name(self.path.name.partition(".zarr")[0] + ".zarr")


def limit() -> int:
    """The bytes that all stores together may take, as $ENGINE_CACHE_GB says; InputError where that is no number."""
    text = os.environ.get(LIMIT) or str(DEFAULT_LIMIT)
    try:
        size = float(text)
    except ValueError:
        size = -1
    if not 0 <= size < float("inf"):
        raise InputError(f"{LIMIT} is {text!r}; expected the size of the cache in GB, such as 50")
    return int(size * GB)


def stores() -> list[Stored]:
    """All stores of frozen outputs, the longest unused first, with what interrupted processes left."""
    found = []
    for path in cache_directory(KIND).glob("*.zarr*"):
        lock = Stored(path, 0, 0.0).lock_of.with_suffix(".lock")
        size = sum(found.st_size for found in _told(Path(at, name) for at, _, names in os.walk(path) for name in names))
        found.append(Stored(path, size, max((each.st_mtime for each in _told((lock, path))), default=0.0)))
    return sorted(found, key=lambda each: (each.used, each.path))


def remove(stored: Stored) -> bool:
    """Remove a store that no process has open or makes; whether it is gone."""
    lock = Lock.taken(stored.lock_of)
    if lock is None:
        return False
    with lock:
        # Under another name first: a process that is killed in the middle leaves nothing that looks like a store.
        gone = stored.path if ".zarr." in stored.path.name else stored.path.with_name(f"{stored.path.name}.removed")
        if gone != stored.path:
            shutil.rmtree(gone, ignore_errors=True)  # of a process that was killed here
            if stored.path.exists():
                stored.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        if not stored.lock_of.exists():
            stored.lock_of.with_suffix(".lock").unlink(missing_ok=True)
    return True


def remove_unused(days: float = 0.0) -> list[Stored]:
    """Remove what no process has open and none has used for so many days; what was removed."""
    since = time.time() - days * 86_400
    return [each for each in stores() if each.used <= since and remove(each)]


def check_size(size: int, where: str) -> None:
    """InputError, placed at `where`, for a store of more bytes than the limit."""
    most = limit()
    if size > most:
        what = f"the frozen outputs take up to {size / GB:.2f} GB, and the cache may hold {most / GB:.2f} GB ({LIMIT})"
        raise InputError(Problem(where, what), f'raise {LIMIT}, or train with cache = "off"')


def make_room(size: int, where: str) -> list[Stored]:
    """Remove the longest unused stores until a new one of `size` bytes keeps the limit; what was removed.

    A store that is open stays. Raises InputError, placed at `where`, where the new one alone exceeds the limit;
    NoRoomError where those that are open leave too little.
    """
    check_size(size, where)
    most, removed = limit(), []
    kept = stores()
    total = sum(each.size for each in kept)
    for each in kept:
        if total + size <= most:
            break
        if remove(each):
            removed.append(each)
            total -= each.size
    if total + size > most:
        what = f"{total / GB:.2f} GB of frozen outputs are in use, and {size / GB:.2f} GB more would pass the limit"
        raise NoRoomError(f'{what} of {most / GB:.2f} GB; raise {LIMIT}, or train with cache = "off"')
    return removed


def _told(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    """What the file system tells of those that are there: other processes remove and rename them meanwhile."""
    for path in paths:
        try:
            yield path.stat()
        except FileNotFoundError:
            continue

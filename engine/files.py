"""Files that are whole or not there: written beside their place, synced, renamed; damage is told by name."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from engine.errors import WorldError
from engine.plain import finite


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, put it on the disk, then in the place of `path`.

    A reader, or a machine that loses power, sees the old file or the new one. The folder is made if it is not there.
    Raises WorldError when the disk is full or the folder takes no file.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(partial)
            sync(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise WorldError(f"{path} could not be written: {error.strerror or error}") from error


def write_json(path: Path, data: Any) -> None:
    """Write JSON as a whole file; a number that is not finite becomes null. Raises WorldError on a full disk."""
    text = json.dumps(finite(data), indent=1, default=str, allow_nan=False, ensure_ascii=False)
    write_whole(path, lambda partial: partial.write_text(text + "\n", encoding="utf-8"))


def read_json(path: Path, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """A JSON object that holds `keys` of those types; WorldError naming the file when it is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise WorldError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise WorldError(f"{path} is damaged: {error}") from error
    if not isinstance(content, Mapping):
        raise WorldError(f"{path} is damaged: it holds no table")
    for key, kind in keys.items():
        if not isinstance(content.get(key), kind):
            raise WorldError(f"{path} is damaged: its {key!r} is missing or of another kind")
    return dict(content)


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held(lock: Path, what: str) -> Iterator[IO[str]]:
    """Hold a file that one process alone may hold; WorldError beginning with `what` when another one does.

    The system takes it back when its process dies, however it dies: data workers, which live on for seconds after a
    killed process, do not inherit it. A process that is handed the open file, which this gives, holds it as well.
    """
    with lock.open("a+") as handle:
        os.register_at_fork(after_in_child=handle.close)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise WorldError(f"{what} in another process ({handle.read(99).strip()})") from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {platform.node()}\n")
        handle.flush()
        yield handle


def is_held(lock: Path) -> bool:
    """Whether another process, or another part of this one, holds a file now; nothing is changed by asking."""
    try:
        with lock.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""What is computed once and kept between runs: a folder of the cache, complete under its final name or not there."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from engine.errors import WorldError
from engine.files import sync


def cache_directory(kind: str) -> Path:
    """The folder of the cache for one kind of thing, which may not be there yet.

    It is in $ENGINE_CACHE, else in `engine` below $XDG_CACHE_HOME or ~/.cache.
    """
    if named := os.environ.get("ENGINE_CACHE"):
        return Path(named) / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engine" / kind


def made_once(path: Path, make: Callable[[Path], None]) -> bool:
    """Let `make` fill a folder that then becomes `path`, unless it is there; whether this process made it.

    Of several processes that want the same folder one makes it and the others wait for it. An interrupted `make` leaves
    nothing under the final name, and the next one removes what it left elsewhere. Raises WorldError where the cache
    cannot be written, and what `make` raises.
    """
    if path.exists():
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)  # the system takes it back when its process dies, however it dies
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

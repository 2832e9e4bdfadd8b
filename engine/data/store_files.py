"""Parts of files, from a local folder or by URL through fsspec."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from engine.errors import InputError

Part = tuple[str, int, int]
"""(file's name under the store, first byte, byte behind the last)."""


class Files(Protocol):
    """The files of a store."""

    def whole(self, name: str) -> bytes:
        """All of a file; OSError."""
        ...

    def parts(self, asked: Sequence[Part]) -> list[bytes | OSError]:
        """Parts of files, shorter where a file ends early; OSError in the place of one that cannot be read."""
        ...


class LocalFiles:
    """Files under a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def whole(self, name: str) -> bytes:
        """All of a file."""
        return (self.folder / name).read_bytes()

    def parts(self, asked: Sequence[Part]) -> list[bytes | OSError]:
        """One after the other: the system has read ahead."""
        return [self._part(*part) for part in asked]

    def _part(self, name: str, first: int, end: int) -> bytes | OSError:
        try:
            handle = os.open(f"{self.folder}/{name}", os.O_RDONLY)
            try:
                return os.pread(handle, end - first, first)
            finally:
                os.close(handle)
        except OSError as error:
            return error


class RemoteFiles:
    """Files under a URL; every process connects by itself, and asks for the parts of a sample at once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connected: tuple[int, Any, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connected": None}

    def _connect(self) -> tuple[Any, str]:
        # A connection that a fork inherits would be shared with the parent.
        if self._connected is None or self._connected[0] != os.getpid():
            try:
                from fsspec.core import url_to_fs

                files, root = url_to_fs(self.url)
            except ImportError as error:
                what = f"{self.url} cannot be read: {error}"
                raise InputError(what, 'pip install "experiment-engine[remote]" brings HTTP') from error
            except ValueError as error:
                raise InputError(f"{self.url} cannot be read: {error}") from error
            self._connected = os.getpid(), files, root.rstrip("/")
        return self._connected[1:]

    def whole(self, name: str) -> bytes:
        """All of a file."""
        files, root = self._connect()
        data: bytes = files.cat_file(f"{root}/{name}")
        return data

    def parts(self, asked: Sequence[Part]) -> list[bytes | OSError]:
        """All at once where the protocol can."""
        files, root = self._connect()
        names, firsts, ends = zip(*asked, strict=True)
        found = files.cat_ranges([f"{root}/{name}" for name in names], list(firsts), list(ends), on_error="return")
        for each in found:
            if isinstance(each, Exception) and not isinstance(each, OSError):
                raise each
        return list(found)

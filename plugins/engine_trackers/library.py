"""The library behind a tracker, which is an extra."""

from __future__ import annotations

from importlib.util import find_spec

from engine.errors import WorldError


def require(library: str, tracker: str, install: str = "") -> None:
    """WorldError that names the tracker's extra, or else what to `install`, where a library is not there.

    Nothing is imported.
    """
    if find_spec(library) is None:
        install = install or f"experiment-engine[{tracker}]"
        raise WorldError(f'the tracker {tracker!r} needs {library}, which is not installed: pip install "{install}"')

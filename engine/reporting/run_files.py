"""What a run has written so far, read without trust: a line may be half there, a file damaged, a link lead out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import WorldError
from engine.events import LOG
from engine.files import read_json
from engine.reporting.whole import is_event


class RunFiles:
    """The files of a run directory; those that are no regular files within it count as missing.

    damaged: a sentence for each file that could not be read as it should be.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.damaged: dict[str, None] = {}  # a set that keeps its order
        self._inside = os.path.realpath(run)

    def has(self, path: Path) -> bool:
        """Whether a regular file of the run is there."""
        return path.is_file() and Path(os.path.realpath(path)).is_relative_to(self._inside)

    def table(self, *parts: str) -> dict[str, Any]:
        """The JSON object of a file; empty where it is missing or damaged."""
        path = self.run.joinpath(*parts)
        if not self.has(path):
            return {}
        try:
            return read_json(path)
        except WorldError as damage:
            self.damaged[str(damage)] = None
            return {}

    def content(self, path: Path) -> bytes | None:
        """The bytes of a file of the run, None where it is not there."""
        return path.read_bytes() if self.has(path) else None

    def events(self, *parts: str) -> list[dict[str, Any]]:
        """The events that a file holds, the run's log without `parts`; a last line that is still written is left."""
        path = self.run.joinpath(*parts or (LOG,))
        content = self.content(path) or b""
        found, broken = [], 0
        for line in content.splitlines(keepends=True):
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                broken += line.endswith(b"\n")
                continue
            if is_event(event):
                found.append(event)
            else:
                broken += 1
        if broken:
            self.damaged[f"{path} is damaged: {broken} of its lines are left out"] = None
        return found

    def stages(self) -> list[str]:
        """The names of the stages that have a folder, extensions among them."""
        return sorted(path.name.removeprefix("stage-") for path in self.run.glob("stage-*/") if not path.is_symlink())

    def evaluations(self, stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(what it is of, such as "after-pred"; the evaluation) of a stage."""
        for path in sorted(self.run.glob(f"stage-{stage}/evaluation-*.json")):
            yield path.stem.removeprefix("evaluation-"), self.table(f"stage-{stage}", path.name)

    def version(self) -> str:
        """A text that is another one whenever the run has written something that a report shows."""
        seen = []
        for pattern in ("*.json*", "stage-*/*.json*", "stage-*/pictures/*/*.json"):
            for path in sorted(self.run.glob(pattern)):
                about = path.stat() if path.is_file() else None
                seen.append(f"{about.st_size}.{about.st_mtime_ns}" if about else path.name)
        return hashlib.sha256(" ".join(seen).encode()).hexdigest()[:16]

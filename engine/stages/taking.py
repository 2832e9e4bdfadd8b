"""Take a finished stage over from another run: a complete copy, so that either run may be deleted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.checkpoints.record import RECORD
from engine.files import read_json, write_json, write_whole
from engine.stages.runner import CHECKPOINTS, WEIGHTS


def take_over(run: Path, stage: str, parent: str | None, into: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Copy what `run` keeps of a finished stage, without its checkpoints, and of the extensions of its parent.

    Weights are linked where the file system can. The record comes last, since it says that the stage is complete, and
    notes the run that trained it with `provenance`, which is that run's. Returns the record; raises WorldError on a
    full disk.
    """
    for extension in _extensions(run, parent) if parent else ():
        if not (into / extension.name).exists():
            _copy(extension, into / extension.name)
            _put(shutil.copyfile, extension / RECORD, into / extension.name / RECORD)
    source, target = run / f"stage-{stage}", into / f"stage-{stage}"
    record = read_json(source / RECORD)
    _copy(source, target)
    origin = {"trained_in": str(run), "provenance": provenance}
    record["reused"] = record.get("reused", origin) | {"taken_from": str(run)}
    write_json(target / RECORD, record)
    return record


def _extensions(run: Path, parent: str) -> Iterator[Path]:
    """The folders in which a gate had `parent` trained further, as far as they were finished."""
    for folder in sorted(run.glob(f"stage-{parent}+*")):
        if (folder / RECORD).is_file() and not link_in(folder):
            yield folder


def link_in(folder: Path) -> Path | None:
    """A symbolic link at or below a folder: what a run keeps is files, and a link may lead anywhere."""
    places = [folder, *(Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files))]
    return next((path for path in places if path.is_symlink()), None)


def _copy(source: Path, target: Path) -> None:
    for place, folders, files in os.walk(source):
        if Path(place) == source and CHECKPOINTS in folders:
            folders.remove(CHECKPOINTS)
        for file in (Path(place, name) for name in files if not name.startswith(".")):
            if file != source / RECORD:
                put = _link if file.name == WEIGHTS else shutil.copyfile
                _put(put, file, target / file.relative_to(source))


def _put(put: Callable[[Path, Path], object], file: Path, at: Path) -> None:
    write_whole(at, lambda partial: put(file, partial))


def _link(file: Path, at: Path) -> None:
    try:
        at.hardlink_to(file)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, at)

"""Take a finished stage over from another run: a complete copy, so that either run may be deleted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from engine.checkpoints.record import RECORD
from engine.events import LOG
from engine.files import read_json, write_json, write_whole
from engine.recipe.schema import Stage
from engine.stages.runner import CHECKPOINTS, WEIGHTS

TOLD = ("stage_frozen", "step", "evaluated")


def take_over(run: Path, stage: Stage, into: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Copy what `run` keeps of a finished stage, without its checkpoints, and of what its gates had its parent learn.

    Weights are linked where the file system can. The record comes last, since it says that the stage is complete, and
    notes the run that trained it with `provenance`, which is that run's. Returns the record; raises WorldError on a
    full disk.
    """
    for extension in _extensions(run, stage):
        _copy(extension, into / extension.name)
        _put(shutil.copyfile, extension / RECORD, into / extension.name / RECORD)
    source, target = run / f"stage-{stage.name}", into / f"stage-{stage.name}"
    record = read_json(source / RECORD)
    _copy(source, target)
    if not (source / LOG).exists():  # it trained there, and was not taken over in its turn
        _put(lambda log, at: at.write_bytes(b"".join(_told_of(log, stage.name))), run / LOG, target / LOG)
    origin = {"trained_in": str(run), "provenance": provenance}
    record["reused"] = record.get("reused", origin) | {"taken_from": str(run)}
    write_json(target / RECORD, record)
    return record


def _told_of(log: Path, stage: str) -> Iterator[bytes]:
    """The lines of a run's event log that tell how a stage trained, for the curves of who takes it over."""
    if not log.is_file() or log.is_symlink():
        return
    for line in log.read_bytes().splitlines(keepends=True):
        try:
            event = json.loads(line)
        except ValueError:  # half a line, which a killed run left
            continue
        if isinstance(event, Mapping) and event.get("event") in TOLD and event.get("stage", event.get("name")) == stage:
            yield line


def _extensions(run: Path, stage: Stage) -> Iterator[Path]:
    """The folders in which gates of `stage` had its parent trained further; those of other stages may have to run."""
    for number in count(1):
        folder = run / f"stage-{stage.extension(number)}"
        if not (folder / RECORD).is_file() or link_in(folder):
            return
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

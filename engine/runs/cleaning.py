"""What runs leave on the disk that nobody needs any more: checkpoints, whole runs, frozen outputs in the cache."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from engine.data import cache_room
from engine.errors import WorldError
from engine.files import file_digest, read_json
from engine.runs.directory import LOCK, alone, is_run, read_status


@dataclass(frozen=True)
class Waste:
    """A folder that can go, and why; `bytes` are what the disk gets back.

    of: the run that it is a part of or the whole of, or a store of the cache.
    """

    path: Path
    of: Path | cache_room.Stored
    why: str
    bytes: int


def find_waste(root: Path, keep: int | None = None, unfinished: bool = False) -> tuple[list[Waste], list[str]]:
    """What can go from the runs under `root`, and a sentence for each run that is left alone all the same.

    Checkpoints of finished stages go from every finished run: the weights stay, by which a stage is measured and
    reused. keep: of the finished runs of a recipe all but the newest `keep` go. unfinished: so do runs that ended
    badly. Left alone are runs that are being written and those with links that lead out of them; a folder that is no
    run is not looked at, and no link is followed. Raises WorldError for a folder that cannot be read.
    """
    found: list[Waste] = []
    left: list[str] = []
    for recipe in _folders(root):
        finished = 0
        for run in filter(is_run, reversed(_folders(recipe))):
            try:
                with _held(run):
                    status = read_status(run)
            except WorldError as reason:
                left.append(str(reason))
                continue
            finished += status == "done"
            if status != "done":
                found += [_whole(run, f"ended badly ({status or 'killed'})")] if unfinished else []
            elif keep is not None and finished > keep:
                found.append(_whole(run, f"finished, older than the newest {keep}"))
            else:
                found += _checkpoints(run)
    return found, left


def unused_outputs() -> list[Waste]:
    """The frozen outputs in the cache, the longest unused first; those that a process has open are refused later."""
    why = "frozen outputs, computed again by whoever needs them"
    return [Waste(stored.path, stored, why, stored.size) for stored in cache_room.stores()]


def remove(waste: Waste) -> str:
    """Remove it; why it was left alone, in words, or nothing.

    Checkpoints go only from beside weights that match their digest: damaged ones are made again from them.
    """
    if isinstance(waste.of, cache_room.Stored):
        return "" if cache_room.remove(waste.of) else f"{waste.path} is open in a process that goes on"
    try:
        with alone(waste.of):
            if waste.path != waste.of:
                if _weights_are_whole(waste.path.parent):
                    shutil.rmtree(waste.path)
                    return ""
                return f"{waste.path} is left: the weights beside it are damaged, and are made again from there"
            for stage in waste.of.glob("stage-*/"):  # what makes a folder a run goes last, or a half would stay
                shutil.rmtree(stage)
            shutil.rmtree(waste.of)
    except WorldError as reason:
        return str(reason)
    except OSError as error:
        return f"{error.filename} cannot be removed: {error.strerror}"
    return ""


def freed(paths: Iterable[Path]) -> int:
    """The bytes that go with all of `paths`: a file with another link elsewhere stays on the disk."""
    met: Counter[tuple[int, int]] = Counter()
    about: dict[tuple[int, int], os.stat_result] = {}
    for top in paths:
        for place, _, files in os.walk(top):
            for stat in (os.lstat(os.path.join(place, name)) for name in files):  # noqa: PTH118  # a Path a file is slow
                met[stat.st_dev, stat.st_ino] += 1
                about[stat.st_dev, stat.st_ino] = stat
    return sum(stat.st_size for file, stat in about.items() if met[file] >= stat.st_nlink)


def _whole(run: Path, why: str) -> Waste:
    return Waste(run, run, why, freed([run]))


def _checkpoints(run: Path) -> Iterator[Waste]:
    for checkpoints in sorted(run.glob("stage-*/checkpoints/")):
        if not checkpoints.is_symlink() and (checkpoints.parent / "record.json").is_file():
            yield Waste(checkpoints, run, "checkpoints of a finished stage", freed([checkpoints]))


def _weights_are_whole(stage: Path) -> bool:
    """Whether a stage is done and hands on the weights that its record says; WorldError for a damaged record."""
    record = read_json(stage / "record.json", status=str, weights_digest=str)
    weights = stage / "weights.safetensors"
    return record["status"] == "done" and weights.is_file() and file_digest(weights) == record["weights_digest"]


def _folders(path: Path) -> list[Path]:
    """The folders in a folder by name; a link to one elsewhere is none."""
    try:
        return sorted(item for item in path.iterdir() if item.is_dir() and not item.is_symlink())
    except OSError as error:
        raise WorldError(f"{path} cannot be read: {error.strerror}") from error


def _held(run: Path) -> AbstractContextManager[None]:
    """Hold a run while it is looked at, where somebody has ever written to it: looking leaves nothing behind."""
    return alone(run) if (run / LOCK).exists() else nullcontext()

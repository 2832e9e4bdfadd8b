"""Pack a data set into a zarr store: encoded by workers, written by one process, gone on with after any end.

A store grows in the folder X.zarr.partial beside its place. Its journal has a line a sample, added when the sample's
bytes are on the disk; who goes on cuts off what no line tells of. X.zarr appears when all of it is there.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from numcodecs import Blosc

from engine.contracts import Progress
from engine.data.loader import Failed, caught
from engine.data.packed_writer import Encoded, PackedWriter, encoded
from engine.data.shards import CODEC, Layout
from engine.data.source import Source
from engine.data.workers import loaded
from engine.data.zarr_store import FORMAT
from engine.errors import DamagedDataError, InputError, WorldError
from engine.files import held, sync, write_whole

JOURNAL = "journal.jsonl"
LOCK = "lock"
STORE = "store"
SYNC_SECONDS = 2.0
"""At most so much work is done again after an interruption."""


@dataclass
class Packing:
    """What became of the samples: those in the store, those passed over as damaged, the sizes there are.

    taken_up: the samples that an earlier process had already seen to.
    """

    samples: int = 0
    damaged: int = 0
    groups: int = 0
    taken_up: int = 0


def pack(
    source: Source,
    out: Path,
    about: Mapping[str, Any],
    progress: Progress,
    workers: int = 0,
    codec: Mapping[str, Any] = CODEC,
) -> Packing:
    """Write every sample of `source`, as it is without random augmentation, to the new store `out`.

    `about` says where the samples come from; the store keeps it, and an unfinished one is gone on with only where it is
    the same. InputError where `out` is there, or an unfinished one of something else; WorldError where another process
    packs into it or the disk is full.
    """
    partial = out.with_name(f"{out.name}.partial")
    _refuse(out)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with held(partial / LOCK, f"{out} is being packed"):
            _refuse(out)  # which another process may have finished since
            store = partial / STORE
            growing = _Growing(store, {"format": FORMAT, **about, "count": len(source), "codec": dict(codec)})
            _fill(growing, source, progress, workers, codec)
            growing.finish(source)
            store.rename(out)
            sync(out.parent)
            shutil.rmtree(partial)
    except OSError as error:
        what = f"{partial} could not be written: {error.strerror or error}"
        raise WorldError(f"{what}; the same command then goes on from what is there") from error
    return growing.done


def _refuse(out: Path) -> None:
    if out.exists():
        raise InputError(f"{out} is there already", "delete it, or give --out another name")


def _fill(growing: _Growing, source: Source, progress: Progress, workers: int, codec: Mapping[str, Any]) -> None:
    count = len(source)
    how = {"sampler": range(growing.next, count), "batch_size": None, "collate_fn": _as_it_is}
    for made in loaded(_Encoding(source, codec), str(source), workers, **how):
        if isinstance(made, Failed):
            raise made.error
        if isinstance(made, DamagedDataError):
            source.tell([made])
            growing.add(None)
        else:
            growing.add(made)
        progress(growing.next, count, f"packing {count} samples")
    if growing.done.samples == 0:
        raise source.unreadable()


def _as_it_is(sample: Any) -> Any:
    return sample


class _Encoding(torch.utils.data.Dataset[Encoded | DamagedDataError]):
    """The samples of a source as the chunks that they become."""

    def __init__(self, source: Source, codec: Mapping[str, Any]) -> None:
        self.source = source
        self.codec = codec

    def __getitem__(self, index: int) -> Encoded | DamagedDataError:
        made: Encoded | DamagedDataError = caught(lambda: self._encoded(index))
        return made

    def _encoded(self, index: int) -> Encoded | DamagedDataError:
        try:
            sample = self.source.sample(index, None)
        except DamagedDataError as error:
            return self.source.passed(error)
        try:
            return encoded(sample, Blosc(**self.codec))
        except InputError as error:
            raise InputError(f"{self.source}, sample {index}: {error}") from error


class _Growing:
    """An unfinished store and its journal; `next` is the sample that comes next."""

    def __init__(self, folder: Path, header: Mapping[str, Any]) -> None:
        self.folder = folder
        self.journal = folder.with_name(JOURNAL)
        self.header = header
        self.next = 0
        self.done = Packing()
        self.writer = PackedWriter(folder)
        self._lines: list[Any] = []
        self._synced = time.monotonic()
        self._take_up()

    def add(self, sample: Encoded | None) -> None:
        """Write the next sample; None for one that is damaged and passed over."""
        line: dict[str, Any] = {}
        if sample is not None:
            group, lengths = self.writer.add(sample)
            line = {
                "fields": [asdict(each) for each in sample.fields] if group.rows == 1 else None,
                "group": group.number,
                "texts": sample.texts,
                "lengths": lengths,
                "digests": [each.hex() for each in sample.digests],
            }
        self._count(damaged=sample is None)
        self.next += 1
        self._lines.append(line)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Bring what was written to the disk, then say so in the journal."""
        self.writer.sync()
        with self.journal.open("a") as file:
            file.write("".join(json.dumps(line) + "\n" for line in self._lines))
            file.flush()
            os.fsync(file.fileno())
        self._lines = []
        self._synced = time.monotonic()

    def finish(self, source: Source) -> None:
        """Complete the files and describe them."""
        self.writer.complete()
        self.sync()
        self.writer.describe(self.header, source.scenes(), source.units())
        sync(self.folder)

    def _count(self, damaged: bool) -> None:
        self.done.damaged += damaged
        self.done.samples, self.done.groups = len(self.writer.samples), len(self.writer.groups)

    def _take_up(self) -> None:
        """Go on after the last sample that the journal tells of; InputError where it is that of another packing."""
        lines = list(_whole_lines(self.journal)) if self.folder.is_dir() else []
        if not lines:
            self.folder.mkdir(exist_ok=True)
            write_whole(self.journal, lambda file: file.write_text(json.dumps(self.header) + "\n"))
        else:
            begun = lines.pop(0)
            wanted = json.loads(json.dumps(self.header))
            if begun != wanted:
                other = sorted(key for key in begun.keys() | wanted.keys() if begun.get(key) != wanted.get(key))
                what = (
                    f"{self.folder.parent} is the unfinished store of another packing: it differs in {', '.join(other)}"
                )
                raise InputError(what, "delete it, or give --out another name")
        for line in lines:
            if line:
                fields = [Layout(**{**each, "shape": tuple(each["shape"])}) for each in line["fields"] or ()]
                group = self.writer.group(fields) if fields else self.writer.groups[line["group"]]
                digests = [bytes.fromhex(each) for each in line["digests"]]
                self.writer.count(group, line["lengths"], digests, line["texts"])
            self._count(damaged=not line)
        self.next = self.done.taken_up = len(lines)
        for stray in self.folder.iterdir():
            if stray.name not in {group.name for group in self.writer.groups}:
                shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
        for group in self.writer.groups:
            group.take_up()


def _whole_lines(journal: Path) -> Iterator[Any]:
    """The journal's lines; a last one that is cut short, as by a full disk, is cut off the file."""
    if not journal.exists():
        return
    whole = journal.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end != len(whole):
        os.truncate(journal, end)
    try:
        yield from (json.loads(line) for line in whole[:end].splitlines())
    except ValueError as error:
        raise WorldError(f"{journal} is damaged: {error}; delete {journal.parent} and pack again") from error

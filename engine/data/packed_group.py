"""The files of a packed store's arrays while they grow, and the metadata that let zarr read them."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.data.shards import Layout, index_of
from engine.data.zarr_store import METADATA, digest
from engine.errors import WorldError
from engine.files import sync

if TYPE_CHECKING:
    from zarr.codecs import BloscCodec


class _Shards:
    """The shards of one array: `rows` samples so far, their chunks one behind the other."""

    def __init__(self, folder: Path, how: Layout) -> None:
        self.folder = folder
        self.how = how
        self.rows = 0
        self.sha = hashlib.sha256()
        self._entries: list[tuple[int, int]] = []
        self._end = how.index_bytes
        self._unsynced: set[Path] = set()

    def write(self, chunks: Sequence[bytes], digest: bytes) -> list[int]:
        """Append a sample; the lengths of its chunks."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / self.how.file(self.rows)
        starts = self.rows % self.how.per_shard == 0
        with path.open("wb" if starts else "r+b") as file:
            file.seek(self.how.index_bytes if starts else self._end)
            file.write(b"".join(chunks))
        self._unsynced.add(path)
        lengths = [len(each) for each in chunks]
        self.count(lengths, digest)
        if self.rows % self.how.per_shard == 0:
            self.index()
        return lengths

    def count(self, lengths: Sequence[int], digest: bytes) -> None:
        """Take note of a sample that is in the file."""
        if self.rows % self.how.per_shard == 0:
            self._entries, self._end = [], self.how.index_bytes
        for length in lengths:
            self._entries.append((self._end, length))
            self._end += length
        self.rows += 1
        self.sha.update(digest)

    def index(self) -> None:
        """Write the index of the last shard."""
        path = self.folder / self.how.file(self.rows - 1)
        with path.open("r+b") as file:
            file.write(index_of(self._entries, self.how))
        self._unsynced.add(path)

    def sync(self) -> None:
        """Bring it to the disk."""
        for path in self._unsynced:
            sync(path)
        if self._unsynced:
            sync(self.folder)
            self._unsynced = set()

    def take_up(self) -> None:
        """Cut off what lies behind the samples counted; WorldError where less is there."""
        kept = {self.how.file(row) for row in range(0, self.rows, self.how.per_shard)}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()
        last = self.folder / self.how.file(self.rows - 1)
        if not last.is_file() or last.stat().st_size < self._end:
            raise WorldError(f"{last} is shorter than its journal says; delete {self.folder.parents[2]} and pack again")
        os.truncate(last, self._end)
        if self.rows % self.how.per_shard == 0:
            self.index()


class Group:
    """The samples of one kind: the same fields in the same sizes."""

    def __init__(self, store: Path, number: int, fields: Sequence[Layout]) -> None:
        self.number = number
        self.name = f"group-{number}"
        self.fields = fields
        self.rows = 0
        self._folder = store / self.name
        self._arrays = [_Shards(self._folder / each.folder, each) for each in fields]

    def write(self, chunks: Sequence[Sequence[bytes]], digests: Sequence[bytes]) -> list[list[int]]:
        """Append a sample; the lengths of every field's chunks."""
        self.rows += 1
        return [array.write(part, sha) for array, part, sha in zip(self._arrays, chunks, digests, strict=True)]

    def count(self, lengths: Sequence[Sequence[int]], digests: Sequence[bytes]) -> None:
        """Take note of a sample that is in the files."""
        self.rows += 1
        for array, part, sha in zip(self._arrays, lengths, digests, strict=True):
            array.count(part, sha)

    def sync(self) -> None:
        """Bring it to the disk."""
        for array in self._arrays:
            array.sync()

    def take_up(self) -> None:
        """Go on after the samples counted."""
        (self._folder / METADATA).unlink(missing_ok=True)  # of an end that was not reached
        for array in self._arrays:
            array.take_up()

    def finish(self) -> None:
        """Write the indices that are missing."""
        for array in self._arrays:
            if array.rows % array.how.per_shard:
                array.index()

    def digests(self) -> dict[str, str]:
        """Field -> the sha256 over the sha256 of each of its samples."""
        return {array.how.name: array.sha.hexdigest() for array in self._arrays}


def write_metadata(
    store: Path,
    header: Mapping[str, Any],
    groups: Sequence[Group],
    samples: Sequence[tuple[int, Mapping[str, str]]],
    scenes: Sequence[str] | None,
    units: Mapping[str, str],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Describe the arrays as zarr reads them, and the samples, in the root's attributes, as the data set does.

    about: plain data that the same digest covers; what `header` says is for people.
    """
    import zarr
    from zarr.codecs import Crc32cCodec, ShardingCodecIndexLocation
    from zarr.core.array import ShardsConfigParam

    names = sorted({name for _, texts in samples for name in texts})
    told = {
        "format": header["format"],
        "groups": [{"fields": [asdict(each) for each in group.fields]} for group in groups],
        "group": [group for group, _ in samples],
        "texts": {name: [texts.get(name) for _, texts in samples] for name in names},
        "scenes": scenes,
        "units": dict(units),
    }
    if about is not None:
        told["about"] = dict(about)
    attributes: Any = {"packed": told, "sha256": digest(told), "provenance": dict(header)}
    with warnings.catch_warnings(), zarr.config.set({"json_indent": None}):
        # The specification has no word on it yet; readers that do not know it pass over it.
        warnings.filterwarnings("ignore", "Consolidated metadata", UserWarning)
        root = zarr.create_group(store, attributes=attributes, overwrite=False)
        for group in groups:
            inner = root.create_group(group.name, overwrite=False)
            digests = group.digests()
            for each in group.fields:
                array = inner.create_array(
                    each.folder,
                    shape=(group.rows, *each.shape),
                    dtype=np.dtype(each.dtype),
                    chunks=(1, *each.chunk),
                    shards=ShardsConfigParam(shape=each.shard, index_location=ShardingCodecIndexLocation.start),
                    compressors=[_codec(header["codec"], np.dtype(each.dtype)), Crc32cCodec()],
                    chunk_key_encoding={"name": "default", "separator": "."},
                )
                unit = {"units": units[each.name]} if each.name in units else {}
                array.attrs.update({"sha256": digests[each.name], **unit})
        zarr.consolidate_metadata(store)


def _codec(codec: Mapping[str, Any], dtype: np.dtype[Any]) -> BloscCodec:
    from zarr.codecs import BloscCodec, BloscShuffle

    shuffle = (BloscShuffle.noshuffle, BloscShuffle.shuffle, BloscShuffle.bitshuffle)[codec["shuffle"]]
    return BloscCodec(typesize=dtype.itemsize, cname=codec["cname"], clevel=codec["clevel"], shuffle=shuffle)

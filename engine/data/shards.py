"""Chunks and shards of a packed store as the zarr v3 specification writes them, read and written without zarr.

A chunk is a part of one field of one sample, compressed, with the crc32c of what was compressed behind it. A shard is a
file of chunks behind an index that says where each begins and how long it is. zarr reads the same files; going through
it costs a third of a millisecond an array, which is more than most chunks take to decompress (docs/data.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import google_crc32c
import numpy as np
from numcodecs import Blosc
from numpy.typing import NDArray

from engine.errors import InputError

Array = NDArray[Any]

CODEC = {"cname": "zstd", "clevel": 5, "shuffle": 1}
"""As `numcodecs.Blosc` spells it; chosen by `make bench-data`."""

CHUNK_BYTES = 4 << 20
"""Larger fields are cut into bands of rows of about this size: a crop then reads the bands that it touches."""

SHARD_BYTES = 64 << 20
"""Samples share a file up to about this size before compression."""
SHARD_SAMPLES = 256

MISSING = 2**64 - 1
_CHECKSUM = 4
_ENTRY = 16


@dataclass(frozen=True)
class Layout:
    """How a field of samples of one size is stored: samples a shard, and rows a chunk for fields with rows."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    per_shard: int
    rows: int

    @property
    def folder(self) -> str:
        """The array's name in the store: any field's name becomes one that is a file's."""
        return quote(self.name, safe="")

    @property
    def bands(self) -> int:
        """Chunks a sample."""
        return math.ceil(self.shape[-2] / self.rows) if len(self.shape) > 1 else 1

    @property
    def chunk(self) -> tuple[int, ...]:
        """The shape of a chunk; the last one of a sample is filled up with zeros."""
        return (*self.shape[:-2], self.rows, self.shape[-1]) if len(self.shape) > 1 else self.shape

    @property
    def shard(self) -> tuple[int, ...]:
        """The shape of a shard, samples first."""
        if len(self.shape) < 2:
            return (self.per_shard, *self.shape)
        return (self.per_shard, *self.shape[:-2], self.bands * self.rows, self.shape[-1])

    @property
    def index_bytes(self) -> int:
        """The length of a shard's index, which is at its beginning."""
        return self.per_shard * self.bands * _ENTRY + _CHECKSUM

    def file(self, row: int) -> str:
        """The name of the shard with sample `row`, under the array's folder."""
        return ".".join(["c", str(row // self.per_shard), *"0" * len(self.shape)])


def layout(name: str, array: Array) -> Layout:
    """The layout for a field like `array`; InputError for what a store cannot hold."""
    if array.dtype.kind not in "biufc" or not array.size:
        raise InputError(f"field '{name}' is {array.dtype} {array.shape}; a store holds numbers and texts")
    rows = 1
    if array.ndim > 1:
        rows = math.ceil(array.shape[-2] / max(1, round(array.nbytes / CHUNK_BYTES)))
    per_shard = min(max(SHARD_BYTES // array.nbytes, 1), SHARD_SAMPLES)
    return Layout(name, array.dtype.newbyteorder("<").str, array.shape, per_shard, rows)


def encode(array: Array, how: Layout, codec: Blosc) -> list[bytes]:
    """The chunks of one sample's field."""
    return [_sealed(codec.encode(band)) for band in _bands(array.astype(how.dtype, copy=False), how)]


def _bands(array: Array, how: Layout) -> Iterator[Array]:
    if array.ndim < 2:
        yield np.ascontiguousarray(array).reshape(-1)
        return
    for top in range(0, array.shape[-2], how.rows):
        band = np.ascontiguousarray(array[..., top : top + how.rows, :])
        if band.shape != how.chunk:
            whole = np.zeros(how.chunk, array.dtype)
            whole[..., : band.shape[-2], :] = band
            band = whole
        yield band


def decode(chunks: Sequence[bytes | memoryview], how: Layout, first: int = 0) -> Array:
    """The field from its chunks, of which `chunks` are those from `first` on; ValueError for one that is damaged."""
    codec = Blosc()  # what wrote them says itself how
    if how.bands == 1:
        whole = np.empty(how.shape, how.dtype)
        _unpack(codec, chunks[0], whole)
        return whole
    below = min((first + len(chunks)) * how.rows, how.shape[-2])
    result = np.empty((*how.shape[:-2], below - first * how.rows, how.shape[-1]), how.dtype)
    band = np.empty(how.chunk, how.dtype)
    for number, chunk in enumerate(chunks):
        _unpack(codec, chunk, band)
        part = result[..., number * how.rows : (number + 1) * how.rows, :]
        part[...] = band[..., : part.shape[-2], :]
    return result


def _unpack(codec: Blosc, chunk: bytes | memoryview, into: Array) -> None:
    packed = _opened(chunk)
    try:
        codec.decode(packed, out=into.reshape(-1))
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def index_of(entries: Sequence[tuple[int, int]], how: Layout) -> bytes:
    """The index of a shard whose first chunks are (offset, length) `entries`."""
    table = np.full((how.per_shard * how.bands, 2), MISSING, "<u8")
    table[: len(entries)] = entries
    return _sealed(table.tobytes())


def entries_of(index: bytes, how: Layout) -> Array:
    """(offset, length) of every chunk of a shard, MISSING for those that are not there; ValueError for a bad index."""
    return np.frombuffer(_opened(index), "<u8").reshape(how.per_shard, how.bands, 2)


def _sealed(data: bytes) -> bytes:
    checksum: int = google_crc32c.value(data)
    return data + checksum.to_bytes(_CHECKSUM, "little")


def _opened(sealed: bytes | memoryview) -> bytes:
    data, checksum = bytes(sealed[:-_CHECKSUM]), bytes(sealed[-_CHECKSUM:])
    if google_crc32c.value(data).to_bytes(_CHECKSUM, "little") != checksum:
        raise ValueError("its checksum is not that of its bytes")
    return data

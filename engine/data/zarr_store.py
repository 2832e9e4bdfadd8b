"""The data set `zarr`: a packed store, from a local folder or by URL.

A store is a zarr v3 group. Samples whose fields have the same names, types and shapes lie in one group of it, `group-0`
and so on, an array a field. The root's attributes say what is where, so that a reader asks for nothing else first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from engine.contracts import Sample
from engine.data.options import ZarrOptions
from engine.data.shards import MISSING, Array, Layout, decode, entries_of
from engine.data.store_files import Files, LocalFiles, RemoteFiles
from engine.errors import DamagedDataError, EngineError, InputError, WorldError

FORMAT = 1
"""Raise it with any change to what a store holds: readers then refuse what they do not know."""

METADATA = "zarr.json"


class ZarrData:
    """The samples of a packed store."""

    def __init__(self, options: ZarrOptions) -> None:
        self.crop = options.crop
        self.place = str(options.url or options.path)
        self._files: Files = RemoteFiles(options.url) if options.url else LocalFiles(Path(self.place))
        self._content: _Content | None = None
        self._index = lru_cache(maxsize=1024)(self._read_index)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._index = lru_cache(maxsize=1024)(self._read_index)

    def __len__(self) -> int:
        return len(self._open().samples)

    def scenes(self) -> Sequence[str] | None:
        """The scenes of the samples that were packed, where their data set told them."""
        return self._open().scenes

    def units(self) -> Mapping[str, str]:
        """The units of its fields, where the data set that was packed told them."""
        return self._open().units

    def about(self) -> Mapping[str, Any]:
        """What whoever wrote it says of it, under the digest of the metadata; empty for a packed data set."""
        return self._open().about

    def texts(self) -> list[dict[str, str]]:
        """The texts of every sample, which are read without its arrays."""
        return [texts for _, _, texts in self._open().samples]

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index` as it was packed; a crop's place is drawn by `rng`, and is the middle without.

        Raises:
            IndexError: no such sample.
            DamagedDataError: a part of it is missing or not as it was written.
            InputError: the crop does not fit.
        """
        return self._sample(index, self.crop, rng)

    def whole(self, index: int) -> Sample:
        """Sample `index` without a crop; errors as of `sample`."""
        return self._sample(index, None, None)

    def augment(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The whole sample cut to a crop at random; InputError where it does not fit or fields differ in size."""
        if self.crop is None:
            return sample
        pictures = {name: value for name, value in sample.items() if np.ndim(value) > 1}
        sizes = {np.shape(each)[-2:] for each in pictures.values()}
        rows, columns = _window(sizes, self.crop, rng, sample.get("id", "?"))
        return {**sample, **{name: np.ascontiguousarray(each[..., rows, columns]) for name, each in pictures.items()}}

    def _sample(self, index: int, crop: tuple[int, int] | None, rng: np.random.Generator | None) -> Sample:
        content = self._open()
        if not 0 <= index < len(content.samples):
            raise IndexError(f"{self.place} holds {len(content.samples)} samples; there is no index {index}")
        group, row, texts = content.samples[index]
        fields = content.groups[group]
        name = texts.get("id", f"{index}")
        sizes = {each.shape[-2:] for each in fields if len(each.shape) > 1}
        window = None if crop is None else _window(sizes, crop, rng, name)
        bands = [_bands(each, window) for each in fields]
        arrays = self._read(group, fields, bands, row, name)
        if window is not None:
            arrays = [_cropped(*each, window) for each in zip(arrays, fields, bands, strict=True)]
        # A number comes back as numpy's scalar of its type, as most data sets give theirs.
        found: Sample = {
            each.name: array if array.ndim else array[()] for each, array in zip(fields, arrays, strict=True)
        }
        return {**found, **texts}

    def _read(self, group: int, fields: list[Layout], bands: list[range], row: int, sample: str) -> list[Array]:
        """The bands of every field of one sample."""
        asked, offsets = [], []
        for each, wanted in zip(fields, bands, strict=True):
            file = f"group-{group}/{each.folder}/{each.file(row)}"
            entries = self._index(file, each, sample)[row % each.per_shard, wanted.start : wanted.stop]
            if (entries == MISSING).any():
                raise self._damaged(each.name, sample, file, "the chunk is missing")
            first = int(entries[0, 0])
            asked.append((file, first, int(entries[-1].sum())))
            offsets.append([(int(at) - first, int(at + length) - first) for at, length in entries])
        arrays = []
        for each, wanted, part, places, found in zip(
            fields, bands, asked, offsets, self._files.parts(asked), strict=True
        ):
            if isinstance(found, OSError):
                raise self._unread(each.name, sample, part[0], found)
            seen = memoryview(found)
            try:
                arrays.append(decode([seen[at:end] for at, end in places], each, wanted.start))
            except ValueError as error:
                raise self._damaged(each.name, sample, part[0], str(error)) from error
        return arrays

    def _read_index(self, file: str, how: Layout, sample: str) -> Array:
        (found,) = self._files.parts([(file, 0, how.index_bytes)])
        if isinstance(found, OSError):
            raise self._unread(how.name, sample, file, found)
        try:
            return entries_of(found, how)
        except ValueError as error:
            raise self._damaged(how.name, sample, file, f"its index: {error}") from error

    def _unread(self, array: str, sample: str, file: str, error: OSError) -> EngineError:
        if isinstance(error, FileNotFoundError):
            return self._damaged(array, sample, file, "the file is missing")
        return WorldError(f"{self.place}/{file} cannot be read: {error}")

    def _damaged(self, array: str, sample: str, file: str, what: str) -> DamagedDataError:
        again = "delete the store and pack it again (engine data pack)"
        return DamagedDataError(array, sample, f"{self.place}/{file}: {what}; {again}")

    def _open(self) -> _Content:
        if self._content is None:
            try:
                self._content = _Content(json.loads(self._files.whole(METADATA)))
            except OSError as error:
                partial = Path(f"{self.place}.partial")
                begun = f"; its packing has not finished: {partial}" if partial.is_dir() else ""
                raise WorldError(f"there is no packed store at {self.place}: {error}{begun}") from error
            # What the constructor raises for metadata that say anything at all.
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise WorldError(f"{self.place} is no packed store: {type(error).__name__}: {error}") from error
        return self._content


class _Content:
    """What the root's attributes say."""

    def __init__(self, metadata: dict[str, Any]) -> None:
        told = metadata["attributes"]["packed"]
        if metadata["attributes"]["sha256"] != digest(told):
            raise ValueError("what it says of its samples is not as it was written")
        if told["format"] != FORMAT:
            raise ValueError(f"it is of format {told['format']}, and this version reads {FORMAT}")
        self.groups = [
            [Layout(**{**each, "shape": tuple(each["shape"])}) for each in group["fields"]] for group in told["groups"]
        ]
        texts: dict[str, list[str | None]] = told["texts"]
        rows = [0] * len(self.groups)
        self.samples: list[tuple[int, int, dict[str, str]]] = []
        for index, group in enumerate(told["group"]):
            own = {name: text for name, column in texts.items() if (text := column[index]) is not None}
            self.samples.append((group, rows[group], own))
            rows[group] += 1
        self.scenes: list[str] | None = told["scenes"]
        self.units: dict[str, str] = told["units"]
        self.about: dict[str, Any] = told.get("about", {})


def digest(told: Mapping[str, Any]) -> str:
    """The sha256 of plain data, by which damage to it shows."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


Window = tuple[slice, slice]


def _window(sizes: set[tuple[int, ...]], crop: tuple[int, int], rng: np.random.Generator | None, sample: str) -> Window:
    """Rows and columns of the crop of fields with those heights and widths."""
    if len(sizes) != 1:
        raise InputError(f"sample {sample} has fields of {len(sizes)} sizes, so that there is no one crop of them")
    (full,) = sizes
    free = [each - wanted for each, wanted in zip(full, crop, strict=True)]
    if min(free) < 0:
        raise InputError(f"crop = {list(crop)} does not fit in sample {sample}, which is {list(full)}")
    top, left = (each // 2 if rng is None else int(rng.integers(each + 1)) for each in free)
    return slice(top, top + crop[0]), slice(left, left + crop[1])


def _bands(how: Layout, window: Window | None) -> range:
    """The chunks that a window touches."""
    if window is None or how.bands == 1:
        return range(how.bands)
    return range(window[0].start // how.rows, (window[0].stop - 1) // how.rows + 1)


def _cropped(array: Array, how: Layout, bands: range, window: Window) -> Array:
    if array.ndim < 2:
        return array
    above = bands.start * how.rows
    rows, columns = window
    return np.ascontiguousarray(array[..., rows.start - above : rows.stop - above, columns])

"""The store of a packed data set while it grows: samples as chunks, and the groups that take them in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import Blosc

from engine.contracts import Sample
from engine.data.packed_group import Group, write_metadata
from engine.data.shards import Layout, encode, layout


@dataclass(frozen=True)
class Encoded:
    """A sample on its way to the files: its texts, the layout of its fields, their chunks and digests."""

    texts: dict[str, str]
    fields: list[Layout]
    chunks: list[list[bytes]]
    digests: list[bytes]


def encoded(sample: Sample, codec: Blosc) -> Encoded:
    """The sample as the chunks that it becomes; InputError for what a store cannot hold."""
    made = Encoded({}, [], [], [])
    for name, value in sorted(sample.items()):
        if isinstance(value, str):
            made.texts[name] = value
            continue
        array = np.asarray(value)
        how = layout(name, array)
        array = array.astype(how.dtype, copy=False)
        made.fields.append(how)
        made.chunks.append(encode(array, how, codec))
        made.digests.append(hashlib.sha256(array.tobytes()).digest())
    return made


class PackedWriter:
    """Writes samples one after the other into a folder that is there.

    samples: the group and the texts of each. groups: the samples of one kind each, in the order of their first ones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples: list[tuple[int, dict[str, str]]] = []
        self.groups: list[Group] = []
        self._numbers: dict[tuple[Layout, ...], int] = {}

    def add(self, sample: Encoded) -> tuple[Group, list[list[int]]]:
        """Write the next sample; its group, and the lengths of every field's chunks."""
        group = self.group(sample.fields)
        lengths = group.write(sample.chunks, sample.digests)
        self.samples.append((group.number, sample.texts))
        return group, lengths

    def count(
        self, group: Group, lengths: Sequence[Sequence[int]], digests: Sequence[bytes], texts: dict[str, str]
    ) -> None:
        """Take note of a sample that is in the files."""
        group.count(lengths, digests)
        self.samples.append((group.number, texts))

    def group(self, fields: list[Layout]) -> Group:
        """The group of samples with those fields, a new one where there is none."""
        kinds = tuple(fields)
        if kinds not in self._numbers:
            self._numbers[kinds] = len(self.groups)
            self.groups.append(Group(self.folder, len(self.groups), fields))
        return self.groups[self._numbers[kinds]]

    def sync(self) -> None:
        """Bring what was written to the disk."""
        for group in self.groups:
            group.sync()

    def complete(self) -> None:
        """Write the indices that are missing: no sample follows."""
        for group in self.groups:
            group.finish()

    def describe(
        self,
        header: Mapping[str, Any],
        scenes: Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the metadata. `header`: where the samples come from. `about`: what the reader must be able to trust."""
        write_metadata(self.folder, header, self.groups, self.samples, scenes, units or {}, about)

"""The store of what a frozen base answers: a packed store of the fields that a stage reads, under a key.

Beside the fields of a sample lie the parts of the base's answer to it, as "base.value" and so on. What is damaged or
missing is an error that names the store, and never a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numcodecs import Blosc
from torch import Tensor

from engine.contracts import Sample
from engine.data import zarr_store
from engine.data.options import ZarrOptions
from engine.data.packed_writer import PackedWriter, encoded
from engine.data.zarr_store import ZarrData
from engine.declared import BASE
from engine.errors import DamagedDataError, WorldError

FORMAT = 3
"""Raise it with any change to what a store holds or to how it is computed: old stores are then no longer found."""

CODEC = {"cname": "lz4", "clevel": 1, "shuffle": 1}
"""For reading in the middle of a step: masks shrink to nothing, numbers hardly, and neither takes time to unpack."""

INDEX, INPUT = "engine.index", "engine.input"
"""Texts of every stored sample: its index in the data set, and the digest of what the base was shown."""

Types = dict[str, str]
"""Part of the base's answer -> the name of its torch type, in the order of the answer."""


class FrozenWriter:
    """Writes a new store at `path`, which is not there; samples that are passed over are left out."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True)
        self._writer = PackedWriter(path)
        self._codec = Blosc(**CODEC)

    def add(self, index: int, sample: Sample, digest: bytes) -> None:
        """Store the fields of sample `index`; InputError for what a store cannot hold."""
        self._writer.add(encoded({**sample, INDEX: str(index), INPUT: digest.hex()}, self._codec))

    def finish(self, about: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        """Complete it; `about` is what a reader relies on, `header` what people may want to know."""
        self._writer.complete()
        self._writer.describe({"format": zarr_store.FORMAT, "codec": CODEC, **header}, about=about)


class FrozenStore:
    """A finished store.

    left_out: the fields of data and answers that it does not hold. types: of the parts of the answers.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Open it; WorldError where it is damaged, or computed for another key."""
        self.path = path
        self._data = ZarrData(ZarrOptions(path=path))
        try:
            about, texts = self._data.about(), self._data.texts()
            if about["key"] != key:
                raise ValueError("it was computed for another key")
            self.left_out = frozenset(about["left_out"])
            self.types: Types = dict(about["types"])
            self._rows = {int(each[INDEX]): row for row, each in enumerate(texts)}
            self._inputs = {int(each[INDEX]): each[INPUT] for each in texts}
        except (WorldError, KeyError, TypeError, ValueError) as error:
            raise self._damaged(error) from error

    def __contains__(self, index: int) -> bool:
        return index in self._rows

    def input(self, index: int) -> bytes:
        """The digest of what the base was shown as sample `index`; empty where that was passed over."""
        return bytes.fromhex(self._inputs.get(index, ""))

    def sample(self, index: int) -> Sample:
        """The fields of sample `index`, which is there; WorldError when a part of it is damaged."""
        try:
            found = self._data.sample(self._rows[index], None)
        except (DamagedDataError, WorldError) as error:
            raise self._damaged(error, f"sample {index}: ") from error
        return {name: value for name, value in found.items() if name not in (INDEX, INPUT)}

    def _damaged(self, error: Exception, of: str = "") -> WorldError:
        if isinstance(error, DamagedDataError):
            # Its advice is that of a packed data set.
            error = ValueError(f"array '{error.array}': {error.reason.rpartition(';')[0]}")
        what = f"{self.path} is damaged: {of}{error}"
        return WorldError(f"{what}; delete that folder and resume: it is then computed again")


def as_arrays(tensors: Mapping[str, Tensor]) -> tuple[Sample, Types]:
    """The parts of one sample's answer as arrays under "base.NAME", and their types.

    Of types that numpy has no name for (bfloat16) the bits are kept.
    """
    arrays, types = {}, {}
    for name, tensor in tensors.items():
        unknown = tensor.dtype.is_floating_point and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
        bits = tensor.view({1: torch.uint8, 2: torch.int16}[tensor.itemsize]) if unknown else tensor
        arrays[BASE + name] = bits.numpy()
        types[name] = str(tensor.dtype).removeprefix("torch.")
    return arrays, types


def as_tensors(sample: Sample, types: Types) -> tuple[Sample, dict[str, Tensor]]:
    """A sample's own fields, and the parts of the base's answer as the base gave them."""
    own = {name: value for name, value in sample.items() if name.removeprefix(BASE) not in types or BASE not in name}
    parts = {
        name: torch.from_numpy(np.asarray(sample[BASE + name])).view(getattr(torch, dtype))
        for name, dtype in types.items()
    }
    return own, parts

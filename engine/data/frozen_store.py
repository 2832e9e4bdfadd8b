"""The zarr store of a frozen base's answers: an array a tensor of the prediction, a chunk a sample.

What is damaged or missing is an error that names the store, the array and the sample, and never a number. `inputs`
holds the digest of every sample that the base was shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from engine.errors import WorldError

FORMAT = 2
"""Raise it with any change to what a store holds or to how it is computed: old stores are then no longer found."""

INPUTS = "inputs"


class FrozenWriter:
    """Writes a new store at `path` for `count` samples whose tensors are like `first`, those of one sample.

    `about` becomes attributes of the store. The tensors have no batch dimension, here and in `FrozenStore`.
    """

    def __init__(self, path: Path, count: int, first: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        import zarr

        self._like = _kinds(first)
        tensors: list[dict[str, Any]] = [
            {"name": name, "array": quote(name, safe=""), "shape": list(shape), "dtype": dtype}
            for name, (shape, dtype) in self._like.items()
        ]
        self._group = zarr.create_group(
            path, attributes={"format": FORMAT, "tensors": tensors, "tensors_digest": _digest(tensors), **about}
        )
        self._arrays = {
            each["name"]: self._create(each["array"], (count, *each["shape"]), _as_numpy(tensor).dtype)
            for each, tensor in zip(tensors, first.values(), strict=True)
        }

    def _create(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        from zarr.codecs import Crc32cCodec

        return self._group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=(1, *shape[1:]),
            compressors=Crc32cCodec(),  # a checksum alone: predictions hardly shrink, and reading them must be quick
            chunk_key_encoding={"name": "default", "separator": "."},  # files side by side, not folders in folders
            config={"write_empty_chunks": True},  # zarr leaves out a chunk of zeros, which would look like a lost one
        )

    def differs(self, tensors: Mapping[str, Tensor]) -> str:
        """How the tensors differ from the first sample's in name, shape or type; empty when they do not."""
        found = _kinds(tensors)
        for name in sorted(self._like.keys() | found.keys()):
            like, this = self._like.get(name), found.get(name)
            if like != this:
                return f"'{name}' is {_spelled(like)} for the first sample, and {_spelled(this)}"
        return ""

    def write(self, index: int, tensors: Mapping[str, Tensor]) -> None:
        """Store the tensors of sample `index`, which do not differ from the first's."""
        for name, tensor in tensors.items():
            self._arrays[name][index] = _as_numpy(tensor)

    def finish(self, inputs: Sequence[bytes]) -> None:
        """Store the digest of every sample, in order."""
        rows = np.stack([np.frombuffer(each, np.uint8) for each in inputs])
        array = self._create(INPUTS, rows.shape, rows.dtype)
        array[:] = rows


class FrozenStore:
    """A finished store. Every process opens it by itself, at its first read."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self._arrays: dict[str, tuple[Any, torch.dtype]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_arrays": {}}  # handles do not travel

    def input(self, index: int) -> bytes:
        """The digest of what the base was shown as sample `index`; WorldError when it is damaged."""
        return self._read(INPUTS, index).numpy().tobytes()

    def tensors(self, index: int) -> dict[str, Tensor]:
        """The base's answer to sample `index`; WorldError when a part of it is damaged."""
        self._open()
        return {name: self._read(name, index) for name in self._arrays if name != INPUTS}

    def _read(self, name: str, index: int) -> Tensor:
        self._open()
        array, dtype = self._arrays[name]
        chunk = array.metadata.encode_chunk_key((index,) + (0,) * (array.ndim - 1))
        try:
            if not (self.path / array.path / chunk).is_file():
                raise ValueError("its file is missing")  # which zarr would read as zeros
            return torch.from_numpy(np.asarray(array[index])).view(dtype)
        except (OSError, ValueError) as error:
            raise self._damaged(f"array '{name}', sample {index}: {error}") from error

    def _open(self) -> None:
        if self._arrays:
            return
        import zarr

        try:
            group = zarr.open_group(self.path, mode="r")
            if group.attrs["key"] != self.key:
                raise ValueError("it was computed for another key")
            arrays: dict[str, tuple[Any, torch.dtype]] = {INPUTS: (group[INPUTS], torch.uint8)}
            tensors: Any = group.attrs["tensors"]
            if group.attrs["tensors_digest"] != _digest(tensors):
                raise ValueError("its list of tensors differs from its digest")
            for each in tensors:
                array: Any = group[each["array"]]
                if array.shape[1:] != tuple(each["shape"]):
                    raise ValueError(f"array '{each['name']}' is of shape {array.shape}")
                arrays[each["name"]] = array, getattr(torch, each["dtype"])
            self._arrays = arrays
        # What zarr and the lines above raise for a file of metadata that says anything at all.
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error

    def _damaged(self, what: str) -> WorldError:
        return WorldError(f"{self.path} is damaged: {what}; delete that folder and resume: it is then computed again")


def _digest(tensors: Any) -> str:
    return hashlib.sha256(json.dumps(tensors).encode()).hexdigest()


Kind = tuple[tuple[int, ...], str]


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, Kind]:
    return {name: (tuple(each.shape), str(each.dtype).removeprefix("torch.")) for name, each in tensors.items()}


def _spelled(kind: Kind | None) -> str:
    return "missing" if kind is None else f"{kind[1]} {kind[0]}"


def _as_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The tensor's numbers; the bits of those that numpy has no name for (bfloat16)."""
    unknown = tensor.dtype.is_floating_point and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
    return (tensor.view({1: torch.uint8, 2: torch.int16}[tensor.itemsize]) if unknown else tensor).numpy()

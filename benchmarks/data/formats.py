"""The ways to keep samples that are compared: each writes a list of them into a folder and reads them back."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import torch
import webdataset
import zarr
from engine_stereo.data.calibration import Calibration
from engine_stereo.data.encodings import write_disparity
from engine_stereo.data.frames import Frame, Frames, FramesOptions, MaskFile
from engine_stereo.data.images import write_image
from engine_stereo.data.presets import Encoding

from engine.contracts import Dataset, Sample
from engine.data import shards
from engine.data.options import ZarrOptions
from engine.data.packing import pack
from engine.data.source import Source
from engine.data.zarr_store import ZarrData

PFM = Encoding(kind="pfm")
MASKS = ("occluded", "transparent")
SHARDS = 4
"""Of WebDataset: two workers need at least two."""


@dataclass(frozen=True)
class Format:
    """write(samples, folder); read(folder) gives a data set, or an endless stream in the case of WebDataset.

    compressed: whether it is one of those that ours must be level with.
    """

    name: str
    write: Callable[[Dataset, Path], None]
    read: Callable[[Path], Dataset | torch.utils.data.IterableDataset[Sample]]
    compressed: bool = True


def arrays(sample: Sample) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.asarray(value) for name, value in sample.items() if not isinstance(value, str)}


def texts(sample: Sample) -> dict[str, str]:
    return {name: value for name, value in sample.items() if isinstance(value, str)}


def write_files(samples: Dataset, folder: Path) -> None:
    """PNG for pictures and masks, PFM for the disparity."""
    folder.mkdir(parents=True)
    for index in range(len(samples)):
        sample = samples.sample(index, None)
        for side in ("left", "right"):
            write_image(folder / f"{index}.{side}.png", sample[side])
        write_disparity(folder / f"{index}.pfm", sample["disparity"][0], sample["valid"][0], PFM)
        for name in MASKS:
            cv2.imwrite(f"{folder}/{index}.{name}.png", sample[name][0].astype(np.uint8) * 255)


def read_files(folder: Path) -> Frames:
    """The files as a data set of their own; what all formats hold is what it gives."""
    count = len(list(folder.glob("*.pfm")))
    frames = [
        Frame(
            id=f"scene-{index}",
            scene=f"scene-{index}",
            left=folder / f"{index}.left.png",
            right=folder / f"{index}.right.png",
            disparity=folder / f"{index}.pfm",
            encoding=PFM,
            masks={name: MaskFile(folder / f"{index}.{name}.png") for name in MASKS},
            calibration=Calibration(focal=400.0, baseline=0.12),
        )
        for index in range(count)
    ]
    return Frames(frames, FramesOptions())


def ours(label: str, codec: Mapping[str, Any] = shards.CODEC, **sizes: int) -> Format:
    """Our store with a codec, and sizes of chunks and shards other than it chooses."""

    def write(samples: Dataset, folder: Path) -> None:
        before = {name: getattr(shards, name) for name in sizes}
        for name, size in sizes.items():
            setattr(shards, name, size)
        try:
            pack(Source(samples, "samples"), folder, {}, lambda *_: None, codec=codec)
        finally:
            for name, size in before.items():
                setattr(shards, name, size)

    return Format(f"ours, {label}", write, lambda folder: ZarrData(ZarrOptions(path=folder)), codec["clevel"] > 0)


class ThroughZarr:
    """Our store as zarr itself reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arrays: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(ZarrData(ZarrOptions(path=self.folder)))

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        if not self._arrays:
            told: Any = zarr.open_group(self.folder, mode="r")
            self._arrays = dict(told["group-0"].arrays())
            self._texts = told.attrs["packed"]["texts"]
        found = {name: np.asarray(array[index]) for name, array in self._arrays.items()}
        return {**found, **{name: column[index] for name, column in self._texts.items()}}


class Memmap:
    """A stack of all samples a field, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self.stacks = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
        self.texts = json.loads((folder / "texts.json").read_text())

    def __len__(self) -> int:
        return len(self.texts)

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        return {**{name: np.array(stack[index]) for name, stack in self.stacks.items()}, **self.texts[index]}


def write_memmap(samples: Dataset, folder: Path) -> None:
    folder.mkdir(parents=True)
    whole = [samples.sample(index, None) for index in range(len(samples))]
    for name in arrays(whole[0]):
        np.save(folder / f"{name}.npy", np.stack([sample[name] for sample in whole]))
    (folder / "texts.json").write_text(json.dumps([texts(sample) for sample in whole]))


class Hdf5:
    """A chunked array a field, a chunk a sample."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: Any = None
        self.texts = json.loads((folder / "texts.json").read_text())

    def __len__(self) -> int:
        return len(self.texts)

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        if self._file is None:  # every process opens it by itself
            self._file = h5py.File(self.folder / "samples.h5")
        found = {name: np.asarray(array[index]) for name, array in self._file.items()}
        return {**found, **self.texts[index]}


def hdf5(codec: str) -> Format:
    def write(samples: Dataset, folder: Path) -> None:
        folder.mkdir(parents=True)
        whole = [samples.sample(index, None) for index in range(len(samples))]
        with h5py.File(folder / "samples.h5", "w") as file:
            for name, array in arrays(whole[0]).items():
                stack = np.stack([sample[name] for sample in whole])
                file.create_dataset(name, data=stack, chunks=(1, *array.shape), compression=codec, shuffle=True)
        (folder / "texts.json").write_text(json.dumps([texts(sample) for sample in whole]))

    return Format(f"HDF5, {codec} + shuffle", write, Hdf5)


def web(png: bool) -> Format:
    """Tar files with an npy a field; with `png`, PNG for what a PNG can hold."""

    def write(samples: Dataset, folder: Path) -> None:
        folder.mkdir(parents=True)
        for part in range(SHARDS):
            with tarfile.open(folder / f"{part}.tar", "w") as tar:
                for index in range(part, len(samples), SHARDS):
                    sample = samples.sample(index, None)
                    for name, array in arrays(sample).items():
                        kind, data = _file_of(array, png)
                        _add(tar, f"{index:06d}.{name}.{kind}", data)
                    _add(tar, f"{index:06d}.json", json.dumps(texts(sample)).encode())

    def read(folder: Path) -> torch.utils.data.IterableDataset[Sample]:
        tars = sorted(map(str, folder.glob("*.tar")))
        return webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).compose(_from_tars).repeat()

    return Format("WebDataset, png + npy" if png else "WebDataset, npy", write, read, compressed=png)


def _file_of(array: np.ndarray[Any, Any], png: bool) -> tuple[str, bytes]:
    if png and array.ndim == 3 and (array.dtype == bool or np.array_equal(array, array.astype(np.uint8))):
        raw = array.transpose(1, 2, 0).astype(np.uint8)
        _, data = cv2.imencode(".png", raw * 255 if array.dtype == bool else raw)
        return ("mask.png" if array.dtype == bool else "png"), data.tobytes()
    file = io.BytesIO()
    np.save(file, array)
    return "npy", file.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _from_tars(entries: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
    # Its own `map` would put the tar's names back among the fields.
    return map(_from_tar, entries)


def _from_tar(entry: Mapping[str, Any]) -> Sample:
    sample: Sample = {}
    for key, data in entry.items():
        name, _, kind = key.partition(".")
        if kind == "npy":
            sample[name] = np.load(io.BytesIO(data))
        elif kind.endswith("png"):
            raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            raw = raw[None] if raw.ndim == 2 else raw.transpose(2, 0, 1)
            sample[name] = raw > 0 if kind.startswith("mask") else np.ascontiguousarray(raw, np.float32)
        elif key == "json":
            sample.update(json.loads(data))
    return sample


def formats(codecs: bool) -> Iterator[Format]:
    """All that are compared; `codecs`: ours in every setting, or as it is and uncompressed alone."""
    yield Format("PNG + PFM files", write_files, read_files)
    yield ours("as shipped")
    yield Format("ours, as shipped, read by zarr", ours("").write, ThroughZarr)
    yield ours("no compression", {**shards.CODEC, "clevel": 0})
    if codecs:
        for name, level, tried in (("lz4", 5, (0, 1, 2)), ("zstd", 1, (1,)), ("zstd", 5, (0, 2)), ("zstd", 9, (1,))):
            for shuffle in tried:
                how = ("no shuffle", "shuffle", "bitshuffle")[shuffle]
                yield ours(f"{name} {level}, {how}", {"cname": name, "clevel": level, "shuffle": shuffle})
        yield ours("chunks of 256 KB", CHUNK_BYTES=256 << 10)
        yield ours("a sample a shard", SHARD_SAMPLES=1)
    yield Format("npy memmap", write_memmap, Memmap, compressed=False)
    yield hdf5("gzip")
    yield hdf5("lzf")
    yield web(png=False)
    yield web(png=True)


def same(found: Sample, expected: Sample) -> bool:
    """Whether two samples are the same bit for bit."""
    if found.keys() != expected.keys() or texts(found) != texts(expected):
        return False
    ours, theirs = arrays(found), arrays(expected)
    return all(
        ours[name].dtype == array.dtype and ours[name].shape == array.shape and ours[name].tobytes() == array.tobytes()
        for name, array in theirs.items()
    )


def listed(samples: Sequence[Sample]) -> Dataset:
    """Samples in memory as a data set."""

    class Listed:
        def __len__(self) -> int:
            return len(samples)

        def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
            return samples[index]

    return Listed()

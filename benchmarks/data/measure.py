"""Samples a second and size on disk of every way to keep the same samples, in paired rounds, as one table.

python benchmarks/data/measure.py --write docs/data.md
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# One thread a process, for all of them: before what reads these.
os.environ.update({"OMP_NUM_THREADS": "1", "BLOSC_NTHREADS": "1"})

import cv2
import numpy as np
import torch
from engine_scenes.dataset import PolarizedScenes
from engine_scenes.options import SceneOptions
from formats import Format, formats, listed, read_files, same, write_files
from torch.utils.data import DataLoader, default_convert

from engine.contracts import Dataset, Sample

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what all measurements share

from page import replaced  # found by the line above

SHIPPED = "ours, as shipped"
WORKERS = (0, 2)
PACKAGES = ("zarr", "numcodecs", "h5py", "webdataset", "numpy", "torch", "pillow", "opencv-python-headless")


class Indexed(torch.utils.data.Dataset[Any]):
    """A data set as torch's loader takes it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Any:
        return self.dataset.sample(index, None)


class Streamed(torch.utils.data.IterableDataset[Any]):
    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[Any]:
        return iter(self.stream)


@dataclass
class Row:
    """A format, its bytes a sample, and workers -> samples a second of each round."""

    format: Format
    folder: Path
    size: float
    rates: dict[int, list[float]] = field(default_factory=lambda: {workers: [] for workers in WORKERS})


def original(count: int, height: int, width: int) -> list[Sample]:
    """The embedded scenes with pictures of 8 bit, as files hold them."""
    scenes = PolarizedScenes(SceneOptions(count=count, height=height, width=width))
    scenes.prepare(lambda done, total, what: print(f"\r{what}: {done}/{total}", end="", file=sys.stderr))
    samples = []
    for index in range(count):
        sample = scenes.sample(index, None)
        for side in ("left", "right"):
            sample[side] = np.rint(sample[side]).clip(0, 255).astype(np.float32)
        samples.append(sample)
    return samples


def rate(row: Row, count: int, passes: int, workers: int) -> float:
    """Samples a second over `passes` times the set, from the first sample to the last."""
    opened = row.format.read(row.folder)
    streams = isinstance(opened, torch.utils.data.IterableDataset)
    loader: DataLoader[Any] = DataLoader(
        Streamed(opened) if streams else Indexed(opened),
        sampler=None if streams else np.random.default_rng(0).permutation(count * passes) % count,
        batch_size=None,
        collate_fn=default_convert,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    batches = iter(loader)
    next(batches)
    begun = time.perf_counter()
    for _ in range(count * passes - 1):
        next(batches)
    took = time.perf_counter() - begun
    del batches
    return (count * passes - 1) / took


def check(row: Row, expected: Dataset) -> None:
    """SystemExit where a format does not give back what it was given."""
    opened = row.format.read(row.folder)
    if isinstance(opened, torch.utils.data.IterableDataset):
        wanted = {expected.sample(index, None)["id"]: expected.sample(index, None) for index in range(len(expected))}
        found = [sample for sample, _ in zip(opened, range(len(expected)), strict=False)]
        good = len({sample["id"] for sample in found}) == len(wanted)
        good = good and all(same(sample, wanted[sample["id"]]) for sample in found)
    else:
        good = all(same(opened.sample(index, None), expected.sample(index, None)) for index in range(len(expected)))
    if not good:
        raise SystemExit(f"{row.format.name} does not give back the samples that it was given")


def measured(rows: Sequence[Row], count: int, rounds: int, passes: int) -> None:
    """Every row once a round, in turn, so that what else the machine does meets all of them."""
    for number in range(rounds):
        for workers in WORKERS:
            for row in rows:
                row.rates[workers].append(rate(row, count, passes, workers))
        print(f"round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)


def table(rows: Sequence[Row], caption: str) -> str:
    """Sizes, median rates, and the ratios to ours of the same round: the median, the least and the greatest."""
    shipped = next(row for row in rows if row.format.name == SHIPPED)
    head = [f"{workers} workers, samples/s | to ours" for workers in WORKERS]
    lines = [caption, "", "| format | MB a sample | " + " | ".join(head) + " |", "|---|---" + "|---" * 4 + "|"]
    for row in rows:
        cells = [row.format.name, f"{row.size / 1e6:.2f}"]
        for workers in WORKERS:
            ratios = [mine / ours for mine, ours in zip(row.rates[workers], shipped.rates[workers], strict=True)]
            cells.append(f"{statistics.median(row.rates[workers]):.0f}")
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(rows: Sequence[Row]) -> str:
    """Whether ours is level with each compressed format of others, in speed at equal or smaller size."""
    shipped = next(row for row in rows if row.format.name == SHIPPED)
    others = [row for row in rows if row.format.compressed and not row.format.name.startswith("ours")]
    lines = []
    for row in others:
        for workers in WORKERS:
            ratios = [mine / ours for mine, ours in zip(row.rates[workers], shipped.rates[workers], strict=True)]
            if max(ratios) > 1 or row.size < shipped.size:
                speed = f"{statistics.median(ratios):.2f} times as fast, {max(ratios):.2f} in its best round"
                lines.append(
                    f"{row.format.name} with {workers} workers ({speed}, {row.size / shipped.size:.2f} the size)"
                )
    best = "Ours is no larger and, in every round, faster than every compressed format of others"
    return f"{best}, except: {'; '.join(lines)}." if lines else f"{best}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--size", type=int, nargs=2, default=[384, 512], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=1, help="how often a measurement reads the whole set")
    parser.add_argument("--few", action="store_true", help="leave out the codecs that ours does not use")
    parser.add_argument("--write", type=Path, help="a page with marks to write the table into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    height, width = options.size
    with tempfile.TemporaryDirectory(prefix="bench-data-") as name:
        folder = Path(name)
        write_files(listed(original(options.samples, height, width)), folder / "samples")
        frames = read_files(folder / "samples")
        samples = listed([frames.sample(index, None) for index in range(len(frames))])
        rows = []
        for number, each in enumerate(formats(codecs=not options.few)):
            place = folder / f"{number}"
            each.write(samples, place)
            size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) / options.samples
            rows.append(Row(each, place, size))
            check(rows[-1], samples)
        before = os.getloadavg()[0]
        measured(rows, options.samples, options.rounds, options.passes)
        after = os.getloadavg()[0]
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    caption = (
        f"{options.samples} pairs of {width} x {height} px; medians of {options.rounds} rounds in which each format "
        f"read all of them from the page cache, in random order (WebDataset: in its own), with one thread a "
        f"process. `to ours`: ratios within a round, the median and the range. {platform.machine()}, "
        f"{os.cpu_count()} processors, load average {before:.1f} at the start and {after:.1f} at the end. {versions}."
    )
    text = f"{table(rows, caption)}\n\n{verdict(rows)}"
    print(text)
    if options.write:
        options.write.write_text(replaced(options.write.read_text(), "bench-data", text))


if __name__ == "__main__":
    main()

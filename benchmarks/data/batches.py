"""Samples a second that the loader brings to training, for workers and sizes of batches, in rounds, as one table.

python benchmarks/data/batches.py --write docs/data.md
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

# One thread a process: before what reads it.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from engine_scenes.dataset import PolarizedScenes
from engine_scenes.options import SceneOptions
from engine_stereo.data.images import write_image
from engine_stereo.data.manifest import manifest
from engine_stereo.data.options import ManifestOptions
from engine_stereo.data.pfm import write_pfm

from engine.contracts import Dataset
from engine.data.loader import Order, training_batches

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what all measurements share

from page import replaced  # found by the line above

SIZES = ((192, 256), (256, 320), (320, 384))
WORKERS = (0, 1, 2)
BATCHES = (1, 2, 5)
CHANGES = {
    "scale": [0.8, 1.3],
    "colour": {"brightness": 0.3, "contrast": 0.3, "asymmetric": 0.2},
    "erase": {"size": [20, 50]},
}


def files(folder: Path, samples: int) -> Path:
    """A manifest of the embedded scenes in several sizes, as PNG and PFM."""
    for number, (height, width) in enumerate(SIZES):
        scenes = PolarizedScenes(SceneOptions(count=samples, height=height, width=width))
        scenes.prepare(lambda done, total, what: print(f"\r{what}: {done}/{total}", end="", file=sys.stderr))
        for index in range(samples):
            sample = scenes.sample(index, None)
            for side in ("left", "right"):
                (folder / side).mkdir(exist_ok=True)
                write_image(folder / side / f"{number}-{index}.png", sample[side])
            (folder / "disparity").mkdir(exist_ok=True)
            write_pfm(folder / "disparity" / f"{number}-{index}.pfm", sample["disparity"][0])
    path = folder / "own.toml"
    path.write_text('left = "left/*.png"\nright = "right/*.png"\ndisparity = "disparity/*.pfm"\n')
    return path


def rate(dataset: Dataset, batch: int, workers: int, samples: int) -> float:
    """Samples a second from the second batch on: the first one waits for the workers to start."""
    count = max(2, samples // batch)
    batches = training_batches(dataset, Order(len(dataset), batch, 0, "A"), 0, count + 1, workers=workers, pin=False)
    next(batches)
    begun = time.perf_counter()
    for _ in range(count):
        next(batches)
    return count * batch / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=6, help="of each size")
    parser.add_argument("--samples", type=int, default=60, help="in each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="a page with marks to write the table into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="bench-batches-") as name:
        asked = {"file": files(Path(name), options.scenes), "augment": CHANGES}
        buckets = {"area": [192 * 256, 320 * 384], "aspect": [1.0, 1.5]}
        dataset = manifest(ManifestOptions.model_validate({**asked, "buckets": buckets}))
        rates: dict[tuple[int, int], list[float]] = {(batch, workers): [] for batch in BATCHES for workers in WORKERS}
        before = os.getloadavg()[0]
        for number in range(options.rounds):
            for (batch, workers), found in rates.items():
                found.append(rate(dataset, batch, workers, options.samples))
            print(f"round {number + 1} of {options.rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        after = os.getloadavg()[0]
    sizes = ", ".join(f"{width} x {height}" for height, width in SIZES)
    lines = [
        f"{len(SIZES) * options.scenes} pairs of {sizes} px as PNG and PFM, in buckets of {192 * 256} to "
        f"{320 * 384} px, with scale, colour and erase. Samples a second, the median of {options.rounds} rounds "
        f"and their range. "
        f"{platform.machine()}, {os.cpu_count()} processors, load average {before:.1f} at the start and {after:.1f} at "
        f"the end; numpy {np.__version__}, torch {torch.__version__}.",
        "",
        "| batch | " + " | ".join(f"{workers} workers" for workers in WORKERS) + " |",
        "|---" * (1 + len(WORKERS)) + "|",
    ]
    for batch in BATCHES:
        cells = [rates[batch, workers] for workers in WORKERS]
        told = [f"{statistics.median(each):.0f} ({min(each):.0f}-{max(each):.0f})" for each in cells]
        lines.append(f"| {batch} | {' | '.join(told)} |")
    text = "\n".join(lines)
    print(text)
    if options.write:
        options.write.write_text(replaced(options.write.read_text(), "bench-batches", text))


if __name__ == "__main__":
    main()

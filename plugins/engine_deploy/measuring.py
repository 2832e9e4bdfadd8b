"""What a system, a file of one, or another setting costs: error on held-out data, time a sample, bytes on the disk."""

from __future__ import annotations

import platform
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from engine import evaluate, load_recipe, load_system, samples
from engine.errors import InputError
from engine_deploy.inputs import injects
from engine_deploy.onnx_file import OnnxFile
from engine_deploy.scaled import Scaled
from engine_deploy.smaller import load, save


def seconds(system: nn.Module, batch: Mapping[str, Any], repeats: int) -> tuple[float, float]:
    """What a system takes for a batch, after once that does not count: the medians of the time and of the CPU's time.

    The CPU's is that of all threads of this process. On a machine that others use, it is what is left to compare.
    """
    inject = injects(system, batch)
    times, cpu_times = [], []
    with torch.no_grad():
        for _ in range(repeats + 1):
            _finish()
            began, cpu_began = time.perf_counter(), time.process_time()
            system(dict(batch), inject=inject)
            _finish()
            times.append(time.perf_counter() - began)
            cpu_times.append(time.process_time() - cpu_began)
    return median(times[1:]), median(cpu_times[1:])


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def figures(recipe: Any, system: nn.Module, batch: Mapping[str, Any], repeats: int) -> dict[str, Any]:
    """The recipe's key metrics of a system on its validation data, and the seconds that one of its samples takes."""
    mean = evaluate(recipe, system=system).mean
    took, cpu = seconds(system, batch, repeats)
    return {"seconds": took, "cpu_seconds": cpu, "mean": {name: mean.get(name) for name in recipe.evaluate.key}}


def machine() -> dict[str, Any]:
    """Where the times were measured."""
    model = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.is_file():
        named = [line for line in about.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"processor": model, "threads": torch.get_num_threads(), "gpu": device, "torch": torch.__version__}


def tradeoff(
    run: Path, key: str, values: Sequence[str], scales: Sequence[float], sets: Sequence[str] = (), repeats: int = 5
) -> list[dict[str, Any]]:
    """A row for each value of the recipe's `key` and each scale of the pictures; without a key, for each scale."""
    rows = []
    for value in values or [""]:
        recipe = load_recipe(run, [*sets, *([f"{key}={value}"] if value else [])])
        (batch,) = samples(recipe)
        system = load_system(recipe, weights=weights_of(run))
        base = system.base
        for scale in scales:
            system.base = base if scale == 1 else Scaled(base, scale)
            rows.append({"setting": value, "scale": scale, **figures(recipe, system, batch, repeats)})
    return rows


def compare(
    run: Path, files: Sequence[Path], sets: Sequence[str] = (), repeats: int = 5, zipped: bool = False
) -> list[dict[str, Any]]:
    """A row for what the run trained, and one for each file that `save` or `export` wrote of it, read again.

    iterations: how often the network refines its estimate, None where it does not, or where that is not told.
    zipped: also how large zlib makes each file, which is where zeros are seen.
    """
    recipe = load_recipe(run, sets)
    (batch,) = samples(recipe)
    rows = []
    for file in (None, *files):
        system = load_system(recipe, weights=weights_of(run))
        if file is not None and file.suffix == ".onnx":
            system.base, system.injection = OnnxFile(file), None
        elif file is not None:
            load(system, file)
        row = {"file": "as trained" if file is None else file.name, **_sizes(system, file, zipped)}
        row["iterations"] = getattr(system.base, "iterations", None)
        rows.append(row | figures(recipe, system, batch, repeats))
    return rows


def iterated_otherwise(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each row of `compare` whose file was exported with other iterations than the recipe's model has."""
    wanted = rows[0]["iterations"]
    return [
        f"{row['file']} iterates {row['iterations']} times and the recipe's model {wanted}, so more differs than the "
        "file. Export it again, or give --set the number that it has"
        for row in rows
        if None not in (row["iterations"], wanted) and row["iterations"] != wanted
    ]


def _sizes(system: nn.Module, file: Path | None, zipped: bool) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        if file is None:
            file = Path(folder, "trained.safetensors")
            save(system, file, "fp32")
        sizes = {"bytes": file.stat().st_size}
        if zipped:
            sizes["zipped"] = len(zlib.compress(file.read_bytes(), 6))
        return sizes


def weights_of(run: Path) -> Path | None:
    """Where the weights are: a run has them; a recipe starts from those that its [model] names."""
    return run if run.is_dir() else None


def scales_of(text: str) -> list[float]:
    """The numbers of "1,0.5"; InputError for others than shares of the size."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < each <= 1 for each in found):
        raise InputError(f"--scale {text} is no list of scales", "numbers up to 1, as in --scale 1,0.5")
    return found


def varied(text: str | None) -> tuple[str, list[str]]:
    """The key and the values of "model.valid_iters=4,8"; InputError for another text."""
    if text is None:
        return "", []
    key, sign, values = text.partition("=")
    found = [each.strip() for each in values.split(",") if each.strip()]
    if not (key.strip() and sign and found):
        raise InputError(f"--vary {text} names no key with values", "as in --vary model.valid_iters=4,8,16")
    return key.strip(), found

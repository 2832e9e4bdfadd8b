"""Whether to keep the frozen base's answers: what `cache = "auto"` measures, and how it decides."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from engine.data.cache_room import GB, LIMIT, limit
from engine.data.frozen import Answer, Shown, answers, batches_shown
from engine.data.frozen_store import FrozenStore, FrozenWriter, as_tensors

BATCHES = 3
"""Batches that are measured; the first warms up caches and kernels and does not count."""


@dataclass(frozen=True)
class Costs:
    """What one sample costs: seconds to compute the answer, to store and to read it, and the bytes that it takes."""

    recompute: float
    write: float
    read: float
    size: int


@dataclass(frozen=True)
class Choice:
    """on: whether to cache. why: the decision in words. figures: what it rests on."""

    on: bool
    why: str
    figures: dict[str, Any]


def choose(costs: Costs, samples: int, draws: int, free: int) -> Choice:
    """Cache where that makes the stage shorter and there is room.

    samples: how many are computed. draws: how many the stage takes. free: bytes on the cache's disk.
    """
    size, most = samples * costs.size, limit()
    saved, paid = draws * (costs.recompute - costs.read), samples * (costs.recompute + costs.write)
    each = f"the base answers in {1e3 * costs.recompute:.2f} ms a sample and a store in {1e3 * costs.read:.2f} ms"
    per_epoch = samples * (costs.recompute - costs.read)
    epochs = f", which has paid after {paid / per_epoch:.1f} epochs" if per_epoch > 0 else ""
    what = f"{each}: {draws} draws save {saved:.1f} s, filling the store takes {paid:.1f} s{epochs}"
    figures = {**asdict(costs), "samples": samples, "draws": draws, "saved": saved, "fill": paid, "bytes": size}
    if size > most:
        return Choice(False, f"{size / GB:.2f} GB would pass the {most / GB:.2f} GB of {LIMIT}", figures)
    if size > free:
        return Choice(False, f"{size / GB:.2f} GB are needed and {free / GB:.2f} GB are free on the disk", figures)
    return Choice(saved > paid, what, figures)


def measured(shown: Shown, answer: Answer, batch: int, folder: Path) -> Costs:
    """Time the base on a few real batches, and a store in `folder` of one of them, written and read back."""
    probe = folder / "cache-probe"
    shutil.rmtree(probe, ignore_errors=True)  # of a process that was killed here
    read = list(islice(batches_shown(shown, len(shown.source), batch, 0), BATCHES))
    asked = [[sample for _, sample, _ in each] for each in read]
    found = answers(asked[0], answer, shown.where)
    whole = [each for each in asked if len(each) == len(asked[0])]
    recompute = min(_seconds(partial(answers, each, answer, shown.where)) for each in whole[1 - BATCHES :]) / len(
        asked[0]
    )
    fields = [(index, shown.kept(sample, each), of) for (index, sample, of), each in zip(read[0], found, strict=True)]

    def write(writer: FrozenWriter) -> None:
        for index, kept, of in fields:
            writer.add(index, kept.fields, of)

    def read_back() -> None:
        for index, *_ in fields:
            as_tensors(store.sample(index), store.types)

    try:
        write(FrozenWriter(probe / "warm"))
        writer = FrozenWriter(probe / "store")
        written = _seconds(partial(write, writer))
        # Not timed: it takes some ten milliseconds, however many samples there are.
        writer.finish({"key": "", "types": list(fields[0][1].types.items()), "left_out": []}, {})
        store = FrozenStore(probe / "store", "")
        read_back()
        reading = _seconds(read_back)
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    size = max(sum(np.asarray(value).nbytes for value in kept.fields.values()) for _, kept, _ in fields)
    return Costs(recompute, written / len(fields), reading / len(fields), size)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

"""Batches as a pure function of (seed, stage, step): no state to save, the same for any number of workers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from engine.contracts import Dataset, Sample
from engine.data.source import Source
from engine.errors import InputError
from engine.plugins import guarded
from engine.prediction import Batch
from engine.reading import Fields, MissingFieldError, fields_of

Draw = tuple[int, int]
"""(epoch, index) of one sample."""


def generator(seed: int, stage: str, *counters: int) -> np.random.Generator:
    """Random numbers that depend on nothing but the run's seed, the stage's name and the counters."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(stage.encode()), *counters])))


class Order:
    """The order of samples: every epoch a fresh permutation, batches run over its end into the next epoch.

    `share` = (process, processes) gives each process its own part of every global batch.
    """

    def __init__(self, samples: int, batch: int, seed: int, stage: str, share: tuple[int, int] = (0, 1)) -> None:
        self.samples = samples
        self.batch = batch
        self.seed = seed
        self.stage = stage
        self.share = share
        self._permutation = lru_cache(maxsize=2)(self._draw_permutation)

    def _draw_permutation(self, epoch: int) -> list[int]:
        drawn: list[int] = generator(self.seed, self.stage, 0, epoch).permutation(self.samples).tolist()
        return drawn

    def draws(self, step: int) -> list[Draw]:
        """The samples of batch `step` for this process."""
        process, processes = self.share
        first = (step * processes + process) * self.batch
        return [
            (epoch, self._permutation(epoch)[place])
            for epoch, place in (divmod(position, self.samples) for position in range(first, first + self.batch))
        ]


class Steps:
    """A batch sampler over the steps first..last of an order; starting late replays nothing."""

    def __init__(self, order: Order, first: int, last: int) -> None:
        self.order = order
        self.first = first
        self.last = last

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[Draw]]:
        return (self.order.draws(step) for step in range(self.first, self.last))


def as_source(dataset: Dataset) -> Source:
    """The data set with its mistakes told in words."""
    return dataset if isinstance(dataset, Source) else Source(dataset, f"data set {type(dataset).__name__}")


class Augmented(torch.utils.data.Dataset[Sample]):
    """A data set addressed by draws, each with its own random generator."""

    def __init__(self, dataset: Dataset, seed: int, stage: str) -> None:
        self.dataset = as_source(dataset)
        self.seed = seed
        self.stage = stage

    def __getitem__(self, draw: Draw) -> Sample:
        epoch, index = draw
        return self.dataset.sample(index, generator(self.seed, self.stage, 1, epoch, index))


class Fixed(torch.utils.data.Dataset[Sample]):
    """A data set in order, without random augmentation; `signal` fields may be zeroed, or come from another sample.

    Half the set away is another scene for every sample, and each signal is used once.
    """

    def __init__(self, dataset: Dataset, signal: Sequence[str] = (), ablation: str = "none") -> None:
        self.dataset = as_source(dataset)
        self.signal = signal
        self.ablation = ablation

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset.sample(index, None)
        if self.ablation == "zero":
            return {**sample, **{name: np.zeros_like(sample[name]) for name in self.signal}}
        if self.ablation == "shuffle":
            if len(self.dataset) < 2:
                raise InputError("the shuffle ablation needs at least two validation samples")
            other = self.dataset.sample((index + len(self.dataset) // 2) % len(self.dataset), None)
            return {**sample, **{name: other[name] for name in self.signal}}
        return sample


def collate(samples: list[Sample]) -> Batch:
    """Stack samples field by field; InputError names the samples whose sizes or fields differ."""
    source = samples[0].source if isinstance(samples[0], Fields) else Fields.source
    try:
        sizes = {name: {np.shape(sample[name]) for sample in samples} for name in samples[0]}
    except MissingFieldError as missing:
        raise missing.explained("a batch with samples that have it") from missing
    for name, shapes in sizes.items():
        if len(shapes) > 1:
            ids = ", ".join(f"{sample.get('id', '?')} {np.shape(sample[name])}" for sample in samples)
            raise InputError(
                f"field '{name}' differs in size within a batch: {ids}", "crop to one size, or batch_size = 1"
            )
    with guarded(f"{source}: its samples cannot be stacked"):
        batch: Batch = default_collate([dict(sample) for sample in samples])
        return batch


def training_batches(
    dataset: Dataset, order: Order, first: int, last: int, *, workers: int, pin: bool
) -> Iterator[Batch]:
    """Batches first..last of a stage."""
    return _batches(Augmented(dataset, order.seed, order.stage), Steps(order, first, last), workers, pin)


def evaluation_batches(dataset: Fixed, batch_size: int, *, workers: int, pin: bool) -> Iterator[Batch]:
    """The whole data set once, in order."""
    indices = [list(range(at, min(at + batch_size, len(dataset)))) for at in range(0, len(dataset), batch_size)]
    return _batches(dataset, indices, workers, pin)


def _batches(dataset: Augmented | Fixed, batch_sampler: Any, workers: int, pin: bool) -> Iterator[Batch]:
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        batch_sampler=batch_sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        # Forked workers share the data set as it is; spawned ones could not import the plugin files of a recipe.
        multiprocessing_context="fork" if workers else None,
        # Else every new iterator draws from the global generator, and dropout after a resume would differ.
        generator=torch.Generator(),
    )
    for batch in loader:
        yield fields_of(batch, str(dataset.dataset))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move the tensors of a batch; names stay where they are."""
    moved = {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }
    return fields_of(moved, batch.source if isinstance(batch, Fields) else Fields.source)

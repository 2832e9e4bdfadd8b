"""Batches as a pure function of (seed, stage, step): no state to save, the same for any number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate, get_worker_info

from engine.contracts import Dataset, Sample
from engine.data.draws import generator, of_sample
from engine.data.source import Source
from engine.data.workers import loaded
from engine.errors import DamagedDataError, EngineError, InputError, Problem
from engine.prediction import Batch
from engine.reading import ABLATED, Fields, MissingFieldError, fields_like, fields_of, reading
from engine.registered import guarded

Draw = tuple[int, int]
"""(epoch, index) of one sample."""


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
    """A batch sampler over the steps first..last of an order, as (step, draw); starting late replays nothing."""

    def __init__(self, order: Order, first: int, last: int) -> None:
        self.order = order
        self.first = first
        self.last = last

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[tuple[int, Draw]]]:
        return ([(step, draw) for draw in self.order.draws(step)] for step in range(self.first, self.last))


@dataclass(frozen=True)
class Failed:
    """An error of a worker on its way to the parent: torch would bury an exception in the text of its traceback."""

    error: EngineError


@dataclass(frozen=True)
class Passed:
    """What is left, a sample or a batch, where damaged samples were passed over; None where nothing is."""

    left: Sample | Batch | None
    damaged: Sequence[DamagedDataError]


def caught(work: Callable[[], Any]) -> Any:
    """What `work` gives; in a worker an error of the engine is returned as `Failed`."""
    try:
        return work()
    except EngineError as error:
        if get_worker_info() is None:
            raise
        return Failed(_portable(error))


def _portable(error: EngineError) -> EngineError:
    """The same error in a class of the engine's: a plugin may have derived its own, which might not travel."""
    if isinstance(error, InputError):
        return InputError(error.problems, error.advice)
    if isinstance(error, DamagedDataError):
        return error.without_trace()
    kind = next(each for each in type(error).__mro__ if each.__module__ == EngineError.__module__)
    same: EngineError = kind(str(error))
    return same


def as_source(dataset: Dataset) -> Source:
    """The data set with its mistakes told in words."""
    return dataset if isinstance(dataset, Source) else Source(dataset, f"data set {type(dataset).__name__}")


class Augmented(torch.utils.data.Dataset[Sample]):
    """A data set addressed by a step and a draw, whose random numbers are its own and those of its batch."""

    def __init__(self, dataset: Dataset, seed: int, stage: str) -> None:
        self.dataset = as_source(dataset)
        self.seed = seed
        self.stage = stage

    def __getitem__(self, asked: tuple[int, Draw]) -> Sample:
        step, draw = asked
        made: Sample = caught(lambda: self._sample(step, draw))
        return made

    def _sample(self, step: int, draw: Draw) -> Sample | Passed:
        """The sample of a draw; in place of a damaged one the next by index that reads, augmented as the draw says."""
        damaged: list[DamagedDataError] = []
        _, index = draw
        while True:
            place = (index + len(damaged)) % len(self.dataset) if damaged else index
            try:
                sample = self.dataset.sample(place, of_sample(self.seed, self.stage, draw, step))
            except DamagedDataError as error:
                damaged.append(self.dataset.passed(error))
                if len(damaged) == len(self.dataset):
                    raise self.dataset.unreadable(error) from error
            else:
                return Passed(sample, damaged) if damaged else sample


class Fixed(torch.utils.data.Dataset[Sample]):
    """A data set in order, without random augmentation.

    An ablation zeroes the fields of `signal`, takes them from another scene, or is one of `own`, a function of the
    sample. What it gives stands beside the sample's own, under `ABLATED`: the injection alone sees it
    (`System.forward`), the base what it always sees.
    """

    def __init__(
        self,
        dataset: Dataset,
        signal: Sequence[str] = (),
        ablation: str = "none",
        own: Mapping[str, Callable[[Sample], Mapping[str, Any]]] = MappingProxyType({}),
    ) -> None:
        self.dataset = as_source(dataset)
        self.signal = signal
        self.ablation = ablation
        self.own = own

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        made: Sample = caught(lambda: self._sample(index))
        return made

    def _sample(self, index: int) -> Sample | Passed:
        try:
            sample = self.dataset.sample(index, None)
        except DamagedDataError as error:
            return Passed(None, [self.dataset.passed(error)])
        if self.ablation == "none":
            return sample
        with reading(f"the ablation {self.ablation}"):
            if self.ablation in self.own:
                return {**sample, ABLATED: dict(self.own[self.ablation](sample))}
            own = {name: sample[name] for name in self.signal}
            if self.ablation == "zero":
                return {**sample, ABLATED: {name: np.zeros_like(value) for name, value in own.items()}}
            other = self._other_scene(index, sample)
            for name, value in own.items():
                if np.shape(other[name]) != np.shape(value):
                    sizes = f"{np.shape(value)} in sample {index} and {np.shape(other[name])} in another scene"
                    raise InputError(Problem("", f"the ablation shuffle: field '{name}' is {sizes}", "one size"))
            return {**sample, ABLATED: {name: other[name] for name in own}}

    def _other_scene(self, index: int, sample: Sample) -> Sample:
        """The first sample of another scene, from half the set away: so that each is used once where scenes differ."""
        count = len(self.dataset)
        for place in ((index + count // 2 + further) % count for further in range(count)):
            if place != index:
                try:
                    other = self.dataset.sample(place, None)
                except DamagedDataError as error:
                    self.dataset.passed(error)
                    continue
                if "scene" not in sample or other.get("scene") != sample["scene"]:
                    return other
        raise InputError("the ablation shuffle needs validation samples of at least two scenes")


def _collated(make: Callable[[list[Sample]], Any], samples: list[Sample | Failed | Passed]) -> Any:
    """What `make` makes of the samples that are left, `Passed` with it where some were damaged, or `Failed`."""
    damaged: list[DamagedDataError] = []
    left: list[Sample] = []
    for each in samples:
        if isinstance(each, Failed):
            return each
        if isinstance(each, Passed):
            damaged += each.damaged
        sample = each.left if isinstance(each, Passed) else each
        if sample is not None:
            left.append(sample)
    batch: Any = caught(lambda: make(left)) if left else None
    if batch is None or (damaged and not isinstance(batch, Failed)):
        return Passed(batch, damaged)
    return batch


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
                f"{source}: field '{name}' differs in size within a batch: {ids}", "crop to one size, or batch_size = 1"
            )
    with guarded(f"{source}: its samples cannot be stacked"):
        batch: Batch = default_collate([dict(sample) for sample in samples])
        return batch


def training_batches(
    dataset: Dataset, order: Order, first: int, last: int, *, workers: int, pin: bool
) -> Iterator[Batch]:
    """Batches first..last of a stage."""
    draws = Augmented(dataset, order.seed, order.stage)
    for batch in _batches(draws, Steps(order, first, last), workers, pin, collate):
        yield fields_of(batch, str(draws.dataset), draws.dataset.left_out)


def training_draws(dataset: Dataset, order: Order, first: int, last: int, *, workers: int) -> Iterator[list[Sample]]:
    """The samples of batches first..last of a stage, each by itself."""
    draws = Augmented(dataset, order.seed, order.stage)
    return _batches(draws, Steps(order, first, last), workers, False, list)


def evaluation_batches(
    dataset: Fixed, batch_size: int, *, workers: int, pin: bool, share: tuple[int, int] = (0, 1)
) -> Iterator[Batch]:
    """The whole data set once, in order; damaged samples are left out where the recipe says so.

    `share` = (process, processes) gives each process its own batches, the same as without, one run of them after the
    other. WorldError where none of the data set can be read; a share may be empty.
    """
    indices = [list(range(at, min(at + batch_size, len(dataset)))) for at in range(0, len(dataset), batch_size)]
    process, processes = share
    indices = indices[len(indices) * process // processes : len(indices) * (process + 1) // processes]
    nothing = processes == 1
    for batch in _batches(dataset, indices, workers, pin, collate):
        nothing = False
        yield fields_of(batch, str(dataset.dataset))
    if nothing and len(dataset):
        raise dataset.dataset.unreadable()


def _batches(
    dataset: Augmented | Fixed, batch_sampler: Any, workers: int, pin: bool, make: Callable[[list[Sample]], Any]
) -> Iterator[Any]:
    source = dataset.dataset
    how = {"batch_sampler": batch_sampler, "collate_fn": partial(_collated, make), "pin_memory": pin}
    for made in loaded(dataset, str(source), workers, **how):
        if isinstance(made, Failed):
            raise made.error
        if isinstance(made, Passed):
            source.tell(made.damaged)
        batch = made.left if isinstance(made, Passed) else made
        if batch is not None:
            yield batch


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move the tensors of a batch; names stay where they are. A CPU has them already."""
    if device.type == "cpu" and isinstance(batch, Fields):
        return batch

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: moved(item) for name, item in value.items()}
        return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value

    return fields_like(moved(batch), batch)

"""Samples that bring what the frozen base answers to them, computed once; only for data that are always the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from engine.contracts import Progress, Sample
from engine.data.frozen_store import FrozenStore, FrozenWriter
from engine.data.loader import collate, generator
from engine.data.source import Source
from engine.errors import DamagedDataError, InputError, Problem, WorldError
from engine.prediction import Batch, Prediction
from engine.reading import FROZEN, fields_of

ADVICE = 'with cache = "off" the base runs in every step'


class FrozenOutputs(Source):
    """A data set whose samples carry the base's tensors from `store` under `FROZEN`; `where` places the key `cache`."""

    def __init__(self, source: Source, store: FrozenStore, where: str) -> None:
        super().__init__(source.dataset, source.name, source.skips, source.tell)
        self.source = source
        self.store = store
        self.where = where

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index`; InputError when it draws random numbers, WorldError when the base was shown another one."""
        sample = fixed_sample(self.source, index, self.where, rng)
        if digest(sample) != self.store.input(index):
            raise WorldError(
                f"sample {index} of {self.name} is not the one that {self.store.path} was computed from: the data have "
                'changed since, or are random; delete that folder and resume, or train with cache = "off"'
            )
        return fields_of({**sample, FROZEN: self.store.tensors(index)}, self.name)


def fixed_sample(source: Source, index: int, where: str, rng: np.random.Generator | None = None) -> Sample:
    """Sample `index` as training sees it; InputError when it draws from its random generator."""
    rng = rng or generator(0, FROZEN, index)
    before = _state(rng)
    sample = source.sample(index, rng)
    if _state(rng) != before:
        what = f"{source} draws random numbers for sample {index}, so what the frozen base says of it cannot be kept"
        raise InputError(Problem(where, what, "data without random augmentation"), ADVICE)
    return sample


def _state(rng: np.random.Generator) -> tuple[str, int]:
    # To spawn another generator draws nothing from this one, but what that one draws is as random.
    seeds: Any = rng.bit_generator.seed_seq
    return repr(rng.bit_generator.state), seeds.n_children_spawned


def digest(sample: Sample) -> bytes:
    """The sha256 of a sample's fields: their names, types, shapes and bytes."""
    sha = hashlib.sha256()
    for name in sorted(sample):
        array = np.asarray(sample[name])
        sha.update(f"{name!r} {array.dtype.str} {array.shape} ".encode())
        sha.update(repr(sample[name]).encode() if array.dtype.hasobject else array.tobytes())
    return sha.digest()


def first_digest(source: Source, where: str) -> bytes:
    """The digest of the first sample that can be read."""
    return next((digest(sample) for _, sample in _readable(source, where)), b"")


def _readable(source: Source, where: str) -> Iterator[tuple[int, Sample]]:
    """(index, sample) of every sample; damaged ones are passed over and told of where the recipe says so."""
    for index in range(len(source)):
        try:
            sample = fixed_sample(source, index, where)
        except DamagedDataError as error:
            source.tell([source.passed(error)])
        else:
            yield index, sample


def fill(
    path: Path,
    source: Source,
    answer: Callable[[Batch], Prediction],
    where: str,
    about: Mapping[str, Any],
    progress: Progress,
) -> float:
    """Write to `path` what `answer` gives for every sample alone, in the stage's precision and without gradients.

    The result is by how much the value of a sample differs when it shares a batch with another: rounding, or a base
    that mixes samples. Raises InputError, placed at `where`, for data or answers that cannot be kept.
    """
    count, apart = len(source), 0.0
    what = f"computing {count} frozen outputs"
    inputs = [bytes(hashlib.sha256().digest_size)] * count  # which no sample has, for those that are damaged
    writer: FrozenWriter | None = None
    for number, (index, sample) in enumerate(_readable(source, where)):
        inputs[index] = digest(sample)
        tensors = {name: each[0] for name, each in _tensors(answer(collate([sample])), 1, where).items()}
        if writer is None:
            first, writer = sample, FrozenWriter(path, count, tensors, about)
        if difference := writer.differs(tensors):
            problem = Problem(where, f"the base's {difference} for sample {index}", "the same for every sample")
            raise InputError(problem, ADVICE)
        writer.write(index, tensors)
        if number < 2:
            together = _tensors(answer(collate([first, sample])), 2, where)["value"][1]
            apart = max(apart, float((together - tensors["value"]).abs().max()))
        progress(index + 1, count, what)
    if writer is None:
        raise source.unreadable()
    writer.finish(inputs)
    return apart


def _tensors(prediction: Prediction, size: int, where: str) -> dict[str, Tensor]:
    """The prediction's tensors on the CPU; InputError for a part that cannot be taken apart by sample."""
    named = prediction.tensors()
    whole = [name for name, each in named.items() if not isinstance(each, Tensor) or each.shape[:1] != (size,)]
    if type(prediction) is not Prediction or prediction.base is not None:
        whole.append(f"{type(prediction).__name__} with further parts")
    if whole:
        what = f"the base's {', '.join(whole)} cannot be kept for each of {size} samples"
        raise InputError(Problem(where, what, "tensors whose first dimension is the batch"), ADVICE)
    return {name: each.detach().cpu().contiguous() for name, each in named.items()}

"""Samples that bring what the frozen base answers to them: computed once and read, or computed before they are cut."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.contracts import Progress, Sample
from engine.data.cache import Lock
from engine.data.draws import generator
from engine.data.frozen_store import FrozenStore, FrozenWriter, Types, as_arrays, as_tensors
from engine.data.loader import Failed, Order, caught, collate, training_draws
from engine.data.source import Source
from engine.data.workers import loaded
from engine.declared import BASE, is_declared
from engine.errors import DamagedDataError, InputError, Problem, WorldError
from engine.prediction import Batch, Prediction
from engine.reading import FROZEN, fields_of

ADVICE = 'with cache = "off" the base runs in every step'

_DRAW = "engine.draw"


class Kept(NamedTuple):
    """Fields of a sample and of the answer to it, the types of the latter, and the fields that are left out."""

    fields: Sample
    types: Types
    left_out: frozenset[str]


@dataclass(frozen=True)
class Shown:
    """What the frozen base is shown of a data set, and what is kept of that and of its answers.

    after: it sees whole frames, and random changes follow. where: the place of that choice in the recipe. reads: the
    fields to keep, None for all. target: the field whose size tells whether an answer can be cut with the frame.
    """

    source: Source
    where: str
    after: bool
    reads: frozenset[str] | None
    target: str

    def sample(self, index: int) -> Sample:
        """Sample `index` as the base is shown it; InputError where it draws random numbers before."""
        if self.after:
            return self.source.whole(index)
        rng = generator(0, FROZEN, index)
        before = _state(rng)
        sample = self.source.sample(index, rng)
        if _state(rng) != before:
            what = f"{self.source} draws random numbers for sample {index}, so what the frozen base says of it"
            expected = 'data without random augmentation, or augment = "after-cache"'
            raise InputError(Problem(self.where, f"{what} cannot be kept", expected), ADVICE)
        return sample

    def first(self) -> Sample:
        """The first sample that can be read."""
        return self.source.first(self.sample)

    def kept(self, sample: Sample, answer: dict[str, Tensor]) -> Kept:
        """What to keep of a sample and of the answer to it.

        InputError for a part of the answer that random changes cannot be applied to.
        """
        parts = {name: each for name, each in answer.items() if is_declared(BASE + name, self.reads)}
        size = np.shape(sample.get(self.target, 0))[-2:]
        odd = [name for name, each in parts.items() if self.after and (each.ndim != 3 or each.shape[-2:] != size)]
        if odd:
            told = ", ".join(f"{name} {tuple(parts[name].shape)}" for name in odd)
            what = f"the base's {told} cannot be cut like '{self.target}', whose size is {size}"
            expected = "parts of the target's size alone, as the injection and all losses declare them in `reads`"
            raise InputError(Problem(self.where, what, expected))
        arrays, types = as_arrays(parts)
        own = {name: value for name, value in sample.items() if is_declared(name, self.reads)}
        left_out = {*sample, *(BASE + name for name in answer)} - {*own, *arrays}
        return Kept({**own, **arrays}, types, frozenset(left_out))


Answer = Callable[[Batch], Prediction]


class FrozenSamples(Source):
    """A data set read from a store: the fields that a stage needs, and the base's tensors under `FROZEN`.

    filled: this process computed the store. Otherwise every sample is compared with the data set's own when it is first
    drawn, by whichever worker draws it, and never again.
    """

    def __init__(self, shown: Shown, store: FrozenStore, lock: Lock | None, filled: bool) -> None:
        source = shown.source
        super().__init__(source.dataset, source.name, source.skips, source.tell)
        self.shown = shown
        self.store = store
        self.left_out = store.left_out
        self._lock = lock  # nobody removes the store while this is held
        self._seen = torch.full((len(source),), filled)
        self._seen.share_memory_()  # type: ignore[no-untyped-call]  # torch's gap; workers mark what they compared

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index`, augmented by `rng`; WorldError when the base was shown another one."""
        if not self._seen[index]:
            self._compare(index)
            self._seen[index] = True
        if index not in self.store:
            raise DamagedDataError("its fields", str(index), "it was passed over when the frozen outputs were computed")
        sample = self.store.sample(index)
        if self.shown.after and rng is not None:
            sample = self.shown.source.augment(sample, index, rng)
        own, parts = as_tensors(sample, self.store.types)
        return fields_of({**own, FROZEN: parts}, self.name)

    def bytes_a_sample(self) -> int:
        """The size of the first sample's numbers before they are compressed."""
        fields = self.store.sample(0).values()
        return sum(np.asarray(value).nbytes for value in fields if not isinstance(value, str))

    def close(self) -> None:
        """Let the store be removed."""
        if self._lock is not None:
            self._lock.close()

    def _compare(self, index: int) -> None:
        try:
            changed = digest(self.shown.sample(index)) != self.store.input(index)
        except DamagedDataError:
            if index not in self.store:
                raise
            changed = True
        if changed:
            raise WorldError(
                f"sample {index} of {self.name} is not the one that {self.store.path} was computed from: the data have "
                'changed since, or are random; delete that folder and resume, or train with cache = "off"'
            )


class WholeFrames(Source):
    """A data set whose whole frames the base answers in every step, before both are cut: what a cache replaces."""

    def __init__(self, shown: Shown, answer: Answer) -> None:
        source = shown.source
        super().__init__(source.dataset, source.name, source.skips, source.tell)
        self.shown = shown
        self.answer = answer

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """The whole frame `index`, and the random numbers that are to change it."""
        return {**self.shown.source.whole(index), _DRAW: (index, rng)}

    def batches(self, order: Order, first: int, last: int, workers: int) -> Iterator[Batch]:
        """Batches first..last of a stage, with the base's answers under `FROZEN`."""
        for samples in training_draws(self, order, first, last, workers=workers):
            draws = [sample.pop(_DRAW) for sample in samples]
            whole = [fields_of(sample, self.name) for sample in samples]
            cut: list[Sample] = []
            left_out: frozenset[str] = frozenset()
            found = answers(whole, self.answer, self.shown.where)
            for sample, answer, (index, rng) in zip(whole, found, draws, strict=True):
                kept = self.shown.kept(sample, answer)
                left_out = kept.left_out
                own, parts = as_tensors(self.shown.source.augment(kept.fields, index, rng), kept.types)
                cut.append(fields_of({**own, FROZEN: parts}, self.name))
            yield fields_of(collate(cut), self.name, left_out)


def answers(samples: Sequence[Sample], answer: Answer, where: str) -> list[dict[str, Tensor]]:
    """The tensors of the base's answer to each sample, on the CPU; samples of one size are asked together.

    InputError, placed at `where`, for a part that cannot be taken apart by sample.
    """
    found: list[dict[str, Tensor]] = []
    for _, alike in groupby(samples, lambda sample: [(name, np.shape(value)) for name, value in sample.items()]):
        batch = list(alike)
        named = _tensors(answer(collate(batch)), len(batch), where)
        found += [{name: each[place] for name, each in named.items()} for place in range(len(batch))]
    return found


def _tensors(prediction: Prediction, size: int, where: str) -> dict[str, Tensor]:
    named = prediction.tensors()
    whole = [name for name, each in named.items() if not isinstance(each, Tensor) or each.shape[:1] != (size,)]
    if type(prediction) is not Prediction or prediction.base is not None:
        whole.append(f"{type(prediction).__name__} with further parts")
    if whole:
        what = f"the base's {', '.join(whole)} cannot be kept for each of {size} samples"
        raise InputError(Problem(where, what, "tensors whose first dimension is the batch"), ADVICE)
    return {name: each.detach().cpu().contiguous() for name, each in named.items()}


def digest(sample: Sample) -> bytes:
    """The sha256 of a sample's fields: their names, types, shapes and bytes."""
    sha = hashlib.sha256()
    for name in sorted(sample):
        array = np.asarray(sample[name])
        sha.update(f"{name!r} {array.dtype.str} {array.shape} ".encode())
        sha.update(repr(sample[name]).encode() if array.dtype.hasobject else array.tobytes())
    return sha.digest()


def _state(rng: np.random.Generator) -> tuple[str, int]:
    # To spawn another generator draws nothing from this one, but what that one draws is as random.
    seeds: Any = rng.bit_generator.seed_seq
    return repr(rng.bit_generator.state), seeds.n_children_spawned


class _Reading(torch.utils.data.Dataset[Any]):
    """(index, sample, its digest) by index, or why it cannot be read."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown

    def __getitem__(self, index: int) -> Any:
        return caught(partial(self._read, index))

    def _read(self, index: int) -> tuple[int, Sample, bytes] | DamagedDataError:
        try:
            sample = self.shown.sample(index)
        except DamagedDataError as error:
            return self.shown.source.passed(error)
        return index, sample, digest(sample)


Read = tuple[int, Sample, bytes]


def batches_shown(shown: Shown, count: int, size: int, workers: int) -> Iterator[list[Read]]:
    """The first `count` samples in batches as (index, sample, digest); damaged ones are passed over and told of."""
    how = {"sampler": range(count), "batch_size": None, "collate_fn": _as_it_is}
    batch: list[Read] = []
    for read in loaded(_Reading(shown), str(shown.source), workers, **how):
        if isinstance(read, Failed):
            raise read.error
        if isinstance(read, DamagedDataError):
            shown.source.tell([read])
            continue
        batch.append(read)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _as_it_is(sample: Any) -> Any:
    return sample


@dataclass(frozen=True)
class Filling:
    """How a store is filled: samples a batch, data workers, and who hears of it.

    room: told the bytes that the store will take at most, before anything is written; it raises where that is too much.
    """

    batch: int
    workers: int
    progress: Progress
    room: Callable[[int], None]


def fill(path: Path, shown: Shown, answer: Answer, key: str, of: Mapping[str, Any], how: Filling) -> float:
    """Write to `path` what `answer` gives for every sample, in the stage's precision and without gradients.

    key: the digest of `of`, all that the answers depend on; its "first_sample" is the digest of the first sample.
    The result is by how much the value of the first sample is apart from what it is alone, in a batch of its own:
    rounding, or a base that mixes samples. Raises InputError for data or answers that cannot be kept.
    """
    count, apart = len(shown.source), 0.0
    writer: FrozenWriter | None = None
    first: Kept | None = None
    for batch in batches_shown(shown, count, how.batch, how.workers):
        found = answers([sample for _, sample, _ in batch], answer, shown.where)
        for (index, sample, input_digest), tensors in zip(batch, found, strict=True):
            kept = shown.kept(sample, tensors)
            if writer is None or first is None:
                alone = answers([sample], answer, shown.where)[0]["value"]
                apart = float((tensors["value"] - alone).abs().max())
                if input_digest.hex() != of["first_sample"]:
                    what = f"sample {index} of {shown.source} is not the same twice"
                    raise InputError(Problem(shown.where, what, "data that are always the same"), ADVICE)
                how.room(count * sum(np.asarray(value).nbytes for value in kept.fields.values()))
                writer, first = FrozenWriter(path), kept
            if kept[1:] != first[1:]:
                what = f"for sample {index} the base's answer or the fields are others than for the first"
                raise InputError(Problem(shown.where, what, "the same for every sample"), ADVICE)
            try:
                writer.add(index, kept.fields, input_digest)
            except InputError as error:
                raise InputError(Problem(shown.where, f"sample {index} cannot be kept: {error}"), ADVICE) from error
            how.progress(index + 1, count, f"computing {count} frozen outputs")
    if writer is None or first is None:
        raise shown.source.unreadable()
    about = {"key": key, "types": list(first.types.items()), "left_out": sorted(first.left_out)}
    writer.finish(about, {"of": of})
    return apart

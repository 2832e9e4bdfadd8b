"""The promises of a data set."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.contracts import Dataset, Sample
from engine.data.loader import Fixed, evaluation_batches
from engine.testing.subject import Check, Subject, same

READ = 4
"""Samples that are read at most: what is wrong with one is wrong with the first few."""


def dataset(
    name: str, options: Mapping[str, Any] | None = None, *, fields: Sequence[str] = (), files: Sequence[Path] = ()
) -> list[Check]:
    """Checks of the data set `name`, with options for which it has samples. fields: what each sample must bring."""
    subject = Subject("datasets", name, options or {}, files)

    def made() -> Dataset:
        found: Dataset = subject.build()
        prepare: Callable[..., None] | None = getattr(found, "prepare", None)
        if prepare is not None:
            subject.run("`prepare` fails", lambda: prepare(lambda done, total, what: None))
        return found

    def sample(of: Dataset, index: int, rng: np.random.Generator | None = None) -> Sample:
        found: Sample = subject.run(f"sample {index} fails", lambda: of.sample(index, rng))
        return found

    def it_has_samples_of_named_arrays() -> None:
        of = made()
        if len(of) == 0:
            subject.fail("it holds no samples with the options of the test")
        for index in range(min(len(of), READ)):
            found = sample(of, index)
            missing = [name for name in (*fields, "id", "scene") if name not in found]
            if missing:
                subject.fail(f"sample {index} brings no {', '.join(missing)}; it brings {', '.join(found)}")
            for field, value in found.items():
                _check_field(subject, field, value)

    def its_scenes_are_one_a_sample() -> None:
        of: Any = subject.build()
        told = subject.run("`scenes` fails", of.scenes) if hasattr(of, "scenes") else None
        if told and len(told) != len(of):  # a mix of sets that name none gives an empty list
            what = f"`scenes` gives {len(told)} names for {len(of)} samples"
            subject.fail(what, "the scene of each sample, in their order, or None")

    def evaluation_is_fixed() -> None:
        of = made()
        for index in range(min(len(of), READ)):
            np.random.seed(index)  # what it must not depend on
            torch.manual_seed(index)
            one = sample(of, index)
            torch.manual_seed(index + 1)
            np.random.seed(index + 1)  # as above
            _expect_same(subject, one, sample(of, index), f"sample {index} without `rng` differs the second time")

    def chance_comes_from_rng_alone() -> None:
        of = made()
        one = sample(of, 0, np.random.default_rng(3))
        torch.manual_seed(7)
        np.random.seed(7)  # as above
        sample(of, min(1, len(of) - 1), np.random.default_rng(4))  # which it must not remember
        other = sample(of, 0, np.random.default_rng(3))
        _expect_same(subject, one, other, "the same sample with the same `rng` differs")

    def a_sample_belongs_to_its_reader() -> None:
        of = made()
        one = sample(of, 0)
        kept = {name: np.copy(value) for name, value in one.items() if isinstance(value, np.ndarray)}
        for value in one.values():
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value[...] = 0
        _expect_same(subject, kept, sample(of, 0), "a sample that its reader writes to is read changed again")

    def samples_make_batches() -> None:
        of = made()
        next(iter(batches(of, workers=0)))

    def workers_read_the_same() -> None:
        of = made()
        again = subject.run("it cannot be sent to another process", lambda: _sent(subject, of))
        _expect_same(subject, sample(of, 0), sample(again, 0), "sent to another process it gives another sample")
        here, there = next(iter(batches(of, workers=0))), next(iter(batches(of, workers=1)))
        differ = [name for name in here if not same(here[name], there[name])]
        if differ:
            subject.fail(f"a worker reads another {', '.join(differ)}", "depend on the index and `rng` alone")

    def batches(of: Dataset, workers: int) -> Any:
        size = min(len(of), 2)
        return subject.run(
            "its samples make no batch",
            lambda: [next(iter(evaluation_batches(Fixed(of), size, workers=workers, pin=False)))],
        )

    return subject.checks(
        it_has_samples_of_named_arrays,
        its_scenes_are_one_a_sample,
        evaluation_is_fixed,
        chance_comes_from_rng_alone,
        a_sample_belongs_to_its_reader,
        samples_make_batches,
        workers_read_the_same,
    )


def _check_field(subject: Subject, field: str, value: Any) -> None:
    if field in ("id", "scene"):
        if not isinstance(value, str):
            subject.fail(f"{field!r} is {value!r}", "a text")
    elif not isinstance(value, np.ndarray | np.generic | float | int | str):
        subject.fail(f"the field {field!r} is a {type(value).__name__}", "an array, float32 or bool of shape (C, H, W)")
    elif isinstance(value, np.ndarray) and value.ndim:
        if value.ndim != 3 or value.dtype not in (np.float32, np.bool_):
            what = f"{value.dtype} of shape {value.shape}"
            subject.fail(f"the field {field!r} is {what}", "float32 or bool of shape (C, H, W)")
        if value.dtype == np.float32 and np.isnan(value).any():
            subject.fail(f"the field {field!r} holds numbers that are not known", "a finite number there, and a mask")


def _sent(subject: Subject, of: Dataset) -> Dataset:
    try:
        again: Dataset = pickle.loads(pickle.dumps(of))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        subject.fail(
            f"it cannot be pickled for a worker: {error}", "open files when a sample is read, and keep no lambda"
        )
    return again


def _expect_same(subject: Subject, one: Mapping[str, Any], other: Mapping[str, Any], what: str) -> None:
    differ = [name for name in one if not same(one[name], other.get(name))]
    if differ:
        subject.fail(f"{what}: {', '.join(differ)}", "draw from `rng` and from nothing else, and keep no state")

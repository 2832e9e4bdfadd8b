"""Damaged samples: stop, or pass over them by a rule that depends on the draw alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_plugin import DataOptions, ToyData

from engine.data.loader import Fixed, Order, evaluation_batches, training_batches
from engine.data.source import Source
from engine.errors import DamagedDataError, InputError, WorldError
from engine.prediction import Batch

COUNT = 7


class Damaged(ToyData):
    """Samples `bad` cannot be read."""

    def __init__(self, bad: set[int]) -> None:
        super().__init__(DataOptions(count=COUNT, size=2))
        self.bad = bad

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        if rng is not None:
            rng.random(index)  # a read may use up random numbers before it fails
        if index in self.bad:
            raise DamagedDataError("image", f"train-{index}", "x.bin is cut short")
        return super().sample(index, rng)


def source(bad: set[int], skips: bool = True) -> tuple[Source, list[str]]:
    told: list[str] = []
    return Source(Damaged(bad), "data.train (toy)", skips, lambda found: told.extend(e.sample for e in found)), told


def drawn(data: Source, first: int = 0, workers: int = 0) -> list[Batch]:
    return list(training_batches(data, Order(COUNT, 3, 0, "A"), first, 6, workers=workers, pin=False))


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        a["id"] == b["id"] and torch.equal(a["image"], b["image"]) for a, b in zip(one, other, strict=True)
    )


@settings(max_examples=30)
@given(st.sets(st.integers(0, COUNT - 1), max_size=COUNT - 1))
def test_training_takes_the_next_sample_that_reads_wherever_it_starts(bad: set[int]) -> None:
    good, _ = source(set())
    data, told = source(bad)
    whole = drawn(data)
    for plain, passed in zip(drawn(good), whole, strict=True):
        for wanted, got in zip(plain["id"], passed["id"], strict=True):
            index = int(wanted.removeprefix("train-"))
            place = next(place % COUNT for place in range(index, index + COUNT) if place % COUNT not in bad)
            assert got == f"train-{place}"
    assert {f"train-{index}" for index in bad} == set(told), "18 draws of 7 samples meet each of them"
    assert same(drawn(data, first=4), whole[4:]), "a resumed run draws the same"


def test_workers_change_nothing_and_what_they_pass_over_is_told() -> None:
    (alone, told), (apart, also_told) = source({2, 3}), source({2, 3})
    assert same(drawn(alone), drawn(apart, workers=2))
    assert told
    assert sorted(told) == sorted(also_told)


def test_a_substitute_is_augmented_afresh() -> None:
    data, _ = source(set(range(1, COUNT)))
    (batch, *_) = drawn(data)
    assert batch["id"] == ["train-0"] * 3
    assert not torch.equal(batch["image"][0], batch["image"][1])


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_leaves_damaged_samples_out(workers: int) -> None:
    data, told = source({0, 1, 4})
    batches = list(evaluation_batches(Fixed(data), 2, workers=workers, pin=False))
    assert [name for batch in batches for name in batch["id"]] == ["train-2", "train-3", "train-5", "train-6"]
    assert told == ["train-0", "train-1", "train-4"]


def test_a_shuffled_signal_comes_from_a_sample_that_reads() -> None:
    data, _ = source({3, 4})
    batches = evaluation_batches(Fixed(data, ("signal",), "shuffle"), 1, workers=0, pin=False)
    assert [name for batch in batches for name in batch["id"]] == [f"train-{i}" for i in (0, 1, 2, 5, 6)]
    alone, _ = source(set(range(1, COUNT)))
    with pytest.raises(InputError, match="at least two scenes"):
        list(evaluation_batches(Fixed(alone, ("signal",), "shuffle"), 1, workers=0, pin=False))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_set_without_any_sample_that_reads_is_an_error(workers: int) -> None:
    data, _ = source(set(range(COUNT)))
    with pytest.raises(
        WorldError, match=r"data\.train \(toy\): all of its 7 samples are damaged; .*x\.bin is cut short"
    ):
        drawn(data, workers=workers)
    with pytest.raises(WorldError, match=r"data\.train \(toy\): all of its 7 samples are damaged"):
        list(evaluation_batches(Fixed(data), 2, workers=workers, pin=False))


@pytest.mark.parametrize("workers", [0, 2])
def test_without_leave_to_skip_the_first_one_stops(workers: int) -> None:
    data, told = source({3}, skips=False)
    for read in (
        lambda: drawn(data, workers=workers),
        lambda: list(evaluation_batches(Fixed(data), 2, workers=workers, pin=False)),
    ):
        with pytest.raises(DamagedDataError) as raised:
            read()
        assert str(raised.value) == ("data.train (toy): array 'image' of sample train-3 is damaged: x.bin is cut short")
        assert (raised.value.array, raised.value.sample) == ("image", "train-3")
    assert told == []

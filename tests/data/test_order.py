from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_plugin import DataOptions, ToyData

from engine.data.draws import generator, of_batch, of_sample
from engine.data.loader import Fixed, Order, collate, evaluation_batches, to_device, training_batches
from engine.errors import EngineError, InputError, Problem
from engine.reading import ABLATED

SIZES = {"samples": st.integers(1, 40), "batch": st.integers(1, 9)}


def drawn(order: Order, steps: int) -> list[tuple[int, int]]:
    return [draw for step in range(steps) for draw in order.draws(step)]


@given(**SIZES, seed=st.integers(0, 9))
def test_every_epoch_is_a_permutation_and_batches_run_over_its_end(samples: int, batch: int, seed: int) -> None:
    steps = -(-3 * samples // batch)
    draws = drawn(Order(samples, batch, seed, "A"), steps)
    for epoch in range(3):
        assert sorted(index for number, index in draws if number == epoch)[:samples] == list(range(samples))
    assert [epoch for epoch, _ in draws] == sorted(epoch for epoch, _ in draws)
    assert {len(Order(samples, batch, seed, "A").draws(step)) for step in range(steps)} == {batch}


@given(**SIZES, processes=st.integers(1, 4))
def test_the_shares_of_processes_make_up_the_batch_of_one(samples: int, batch: int, processes: int) -> None:
    alone = Order(samples, batch * processes, 0, "A")
    shares = [Order(samples, batch, 0, "A", (process, processes)) for process in range(processes)]
    for step in range(3):
        assert [draw for share in shares for draw in share.draws(step)] == alone.draws(step)


def test_epochs_stages_and_seeds_have_orders_of_their_own() -> None:
    def first(seed: int = 0, stage: str = "A", epoch: int = 0) -> list[int]:
        return [index for _, index in Order(50, 50, seed, stage).draws(epoch)]

    orders = [first(), first(seed=1), first(stage="B"), first(epoch=1)]
    assert len({tuple(order) for order in orders}) == 4
    assert first() == first()


@given(st.integers(0, 20), st.integers(1, 10))
@settings(deadline=None, max_examples=15)
def test_starting_late_gives_what_skipping_gives(first: int, count: int) -> None:
    data, order = ToyData(DataOptions(count=7, size=2)), Order(7, 3, 0, "A")
    whole = list(training_batches(data, order, 0, first + count, workers=0, pin=False))
    late = list(training_batches(data, order, first, first + count, workers=0, pin=False))
    assert len(late) == count
    for one, other in zip(whole[first:], late, strict=True):
        assert one["id"] == other["id"]
        assert torch.equal(one["image"], other["image"])


def test_workers_change_nothing() -> None:
    data, order = ToyData(DataOptions(count=7, size=2)), Order(7, 3, 0, "A")
    none = list(training_batches(data, order, 1, 5, workers=0, pin=False))
    two = list(training_batches(data, order, 1, 5, workers=2, pin=False))
    for one, other in zip(none, two, strict=True):
        assert one["id"] == other["id"]
        assert torch.equal(one["image"], other["image"])


def test_drawing_batches_leaves_the_global_random_state_alone() -> None:
    # Dropout draws from it, and a resumed run opens its loader at another moment than the run it continues.
    data = ToyData(DataOptions(count=7, size=2))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    next(training_batches(data, Order(7, 3, 0, "A"), 0, 2, workers=0, pin=False))
    next(evaluation_batches(Fixed(data), 3, workers=0, pin=False))
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_differs_between_epochs_and_is_repeatable() -> None:
    data = ToyData(DataOptions(count=1, size=2))
    images = [made["image"] for made in training_batches(data, Order(1, 1, 0, "A"), 0, 2, workers=0, pin=False)]
    again = [made["image"] for made in training_batches(data, Order(1, 1, 0, "A"), 0, 2, workers=0, pin=False)]
    assert not torch.equal(images[0], images[1])
    assert all(torch.equal(one, other) for one, other in zip(images, again, strict=True))


def test_generators_depend_on_every_counter() -> None:
    keys: list[tuple[Any, ...]] = [(0, "A", 1, 2), (1, "A", 1, 2), (0, "B", 1, 2), (0, "A", 2, 1), (0, "A", 1)]
    assert len({generator(*key).random() for key in keys}) == len(keys)


def test_what_a_sample_spawns_is_of_its_batch_and_draws_what_numpys_own_would() -> None:
    rng = of_sample(0, "A", (0, 3), 5)
    spawned = rng.spawn(2)
    plain = np.random.Generator(of_sample(0, "A", (0, 3), 5).bit_generator).spawn(2)
    assert [each.random() for each in spawned] == [each.random() for each in plain]
    assert of_batch(spawned[0]) is of_batch(rng)


def test_evaluation_reads_everything_once_in_order_without_augmentation() -> None:
    data = ToyData(DataOptions(count=5, size=2))
    made = list(evaluation_batches(Fixed(data), 2, workers=0, pin=False))
    assert [name for each in made for name in each["id"]] == [f"train-{i}" for i in range(5)]
    assert torch.equal(made[0]["image"][0], torch.from_numpy(data.sample(0, None)["image"]))


def test_blanking_zeroes_the_signal_and_nothing_else() -> None:
    data = ToyData(DataOptions(count=4))
    blank = Fixed(data, ("signal",), "zero")[1]
    assert not blank[ABLATED]["signal"].any()
    assert np.array_equal(blank["signal"], data.sample(1, None)["signal"])
    assert np.array_equal(blank["image"], data.sample(1, None)["image"])


def test_shuffling_uses_each_signal_once_and_never_its_own() -> None:
    class Numbered(ToyData):
        def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
            return {"signal": np.full(1, index), "image": np.full(1, index)}

    shuffled = Fixed(Numbered(DataOptions(count=5)), ("signal",), "shuffle")
    signals = [int(shuffled[index][ABLATED]["signal"][0]) for index in range(5)]
    assert sorted(signals) == list(range(5))
    assert all(signal != index for index, signal in enumerate(signals))
    assert int(shuffled[3]["image"][0]) == 3


def test_shuffling_needs_two_samples() -> None:
    with pytest.raises(InputError, match="at least two scenes"):
        Fixed(ToyData(DataOptions(count=1)), ("signal",), "shuffle")[0]


def test_shuffling_takes_the_signal_of_another_scene() -> None:
    class Shared(ToyData):
        def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
            return {"signal": np.full(1, index), "scene": "abbaba"[index]}

    shuffled = Fixed(Shared(DataOptions(count=6)), ("signal",), "shuffle")
    taken = [int(shuffled[index][ABLATED]["signal"][0]) for index in range(6)]
    assert all("abbaba"[other] != "abbaba"[index] for index, other in enumerate(taken))


def test_shuffling_signals_of_different_sizes_is_refused() -> None:
    class Sized(ToyData):
        def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
            return {"signal": np.zeros(index + 1), "scene": str(index)}

    with pytest.raises(InputError, match=r"field 'signal' is \(1,\) in sample 0 and \(2,\)"):
        Fixed(Sized(DataOptions(count=2)), ("signal",), "shuffle")[0]


class Spoilt(ToyData):
    """A data set with one of each mistake."""

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        sample = super().sample(index, rng)
        if self.options.split == "raises":
            raise ZeroDivisionError("by zero")
        if self.options.split == "world":
            raise FileNotFoundError(2, "gone", "x.png")
        if self.options.split == "advises":
            raise InputError([Problem("here", "wrong", "right", ["this"]), Problem("there", "too")], "do that")
        if self.options.split == "ragged":
            sample["image"] = np.zeros((1, 2 + index, 2), np.float32)
        return sample


@pytest.mark.parametrize("how", ["raises", "world", "advises", "ragged"])
def test_an_error_in_a_worker_arrives_as_it_was(how: str) -> None:
    found = []
    for workers in (0, 2):
        with pytest.raises(EngineError) as raised:
            list(evaluation_batches(Fixed(Spoilt(DataOptions(count=2, split=how))), 2, workers=workers, pin=False))
        error = raised.value
        told = (error.problems, error.advice) if isinstance(error, InputError) else None
        found.append((type(error), str(error), error.exit_code, told))
    assert found[0] == found[1]


def test_samples_of_different_sizes_are_named() -> None:
    small, large = (ToyData(DataOptions(count=9, size=size)).sample(size, None) for size in (4, 6))
    with pytest.raises(InputError, match=r"field 'image' differs in size.*train-4 \(1, 4, 4\), train-6 \(1, 6, 6\)"):
        collate([small, large])


def test_names_stay_where_they_are_when_tensors_move() -> None:
    moved = to_device({"image": torch.zeros(2), "id": ["a", "b"]}, torch.device("meta"))
    assert moved["image"].device.type == "meta"
    assert moved["id"] == ["a", "b"]

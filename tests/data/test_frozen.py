"""What a frozen base answers comes back from the disk bit for bit, or an error says what is damaged."""

from __future__ import annotations

import pickle
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.contracts import Sample
from engine.data.draws import generator
from engine.data.frozen import Filling, FrozenSamples, Shown, WholeFrames, digest, fill
from engine.data.frozen_store import FrozenStore
from engine.data.loader import Augmented, Order, training_batches
from engine.data.source import Source
from engine.errors import DamagedDataError, EngineError, InputError, WorldError
from engine.prediction import Batch, Prediction
from engine.reading import FROZEN, UndeclaredFieldError

WHERE = "recipe.toml:7:1"
KEY = "the key"
COUNT = 5


class Images:
    """Images that say their index; `sees` may change a sample, or draw from its generator."""

    def __init__(self, sees: Callable[[Sample, int, Any], Sample] = lambda sample, index, rng: sample) -> None:
        self.sees = sees

    def __len__(self) -> int:
        return COUNT

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        image = np.full((1, 4, 6), index, np.float32)
        return self.sees({"image": image, "id": str(index)}, index, rng)


def source(
    sees: Callable[[Sample, int, Any], Sample] = lambda sample, index, rng: sample, skips: bool = False
) -> Source:
    return Source(Images(sees), "data.train (images)", skips)


def rich(batch: Batch) -> Prediction:
    """Every part that a prediction can have, in the types that models use."""
    image = batch["image"]
    return Prediction(
        value=image / 3,
        intermediates=[image[..., ::2, ::2] / 7, (image / 9).to(torch.bfloat16)],
        confidence=torch.sigmoid(image).half(),
        visibility=0 * image,
        features={"left/half": image > 1, "..": image.flatten(1).double(), "count": image.sum((1, 2, 3)).long()},
    )


def shown(data: Source, after: bool = False, reads: frozenset[str] | None = None) -> Shown:
    return Shown(data, WHERE, after, reads, "image")


def filled(
    folder: Path, answer: Callable[[Batch], Prediction] = rich, of: Shown | None = None, batch: int = 2
) -> tuple[FrozenSamples, float]:
    of = of or shown(source())
    first = {"first_sample": digest(of.first()).hex()}
    how = Filling(batch, 0, lambda done, total, what: None, lambda size: None)
    apart = fill(folder / "store.zarr", of, answer, KEY, first, how)
    return FrozenSamples(of, FrozenStore(folder / "store.zarr", KEY), None, filled=False), apart


def drawn(outputs: FrozenSamples, index: int) -> Sample:
    return outputs.sample(index, generator(0, "B", 1, 0, index))


def same(one: Prediction, other: Prediction) -> None:
    mine, theirs = one.tensors(), other.tensors()
    assert list(mine) == list(theirs)
    for name, tensor in mine.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_brings_every_tensor_as_the_base_gave_it(tmp_path: Path, workers: int) -> None:
    outputs, apart = filled(tmp_path)
    assert apart == 0
    drawn(outputs, 0)  # the parent has opened the store before it forks
    batches = list(training_batches(outputs, Order(COUNT, 2, 0, "B"), 0, 5, workers=workers, pin=False))
    for batch in batches:
        same(Prediction.of_tensors(batch[FROZEN]), rich(batch))


def test_a_store_travels_without_its_handles(tmp_path: Path) -> None:
    outputs, _ = filled(tmp_path)
    whole = outputs.store.sample(3)["base.value"]
    store = pickle.loads(pickle.dumps(outputs.store))
    assert np.array_equal(store.sample(3)["base.value"], whole)


def test_how_far_samples_of_a_batch_move_each_other_is_told(tmp_path: Path) -> None:
    _, apart = filled(tmp_path, lambda batch: Prediction(batch["image"] + 0.5 * batch["image"].mean(0, keepdim=True)))
    assert apart == pytest.approx(0.25)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [_flip, lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.write_bytes(b""), Path.unlink],
    ids=["flipped", "truncated", "empty", "missing"],
)
@pytest.mark.parametrize("name", ["base.value", "base.visibility", "base.intermediates.1", "image"])
def test_a_damaged_chunk_is_named_and_never_read(tmp_path: Path, name: str, damage: Callable[[Path], Any]) -> None:
    outputs, _ = filled(tmp_path)
    (chunks,) = (tmp_path / "store.zarr" / "group-0" / name).glob("c.*")
    damage(chunks)
    said = []
    for index in range(COUNT):
        try:
            got = drawn(outputs, index)
        except WorldError as error:
            said.append(str(error))
        else:
            same(Prediction.of_tensors({k: v[None] for k, v in got[FROZEN].items()}), rich({"image": image_of(index)}))
    assert said
    for each in said:
        assert re.search(rf"store\.zarr is damaged: sample \d: array '{name}': .*; delete that folder and", each), each


def image_of(index: int) -> torch.Tensor:
    return torch.full((1, 1, 4, 6), float(index))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FrozenSamples:
    return filled(tmp_path_factory.mktemp("finished"))[0]


@pytest.mark.parametrize("file", ["zarr.json", "group-0/base.value/zarr.json"])
@given(where=st.floats(0, 1, exclude_max=True), put=st.binary(max_size=3), instead_of=st.integers(0, 40))
def test_damaged_metadata_are_told_or_harmless(
    finished: FrozenSamples, file: str, where: float, put: bytes, instead_of: int
) -> None:
    path = finished.store.path / file
    content = path.read_bytes()
    at = int(where * len(content))
    path.write_bytes(content[:at] + put + content[at + instead_of :])
    told = ""
    try:
        store = FrozenStore(finished.store.path, KEY)
        tensors = drawn(FrozenSamples(finished.shown, store, None, filled=False), 1)[FROZEN]
    except WorldError as error:
        told = str(error)
    finally:
        path.write_bytes(content)
    if told:
        assert "store.zarr is damaged: " in told
    else:
        same(
            Prediction.of_tensors({name: each[None] for name, each in tensors.items()}),
            rich({"image": image_of(1)}),
        )


def test_a_store_of_another_key_is_not_read(tmp_path: Path) -> None:
    outputs, _ = filled(tmp_path)
    with pytest.raises(WorldError, match="another key"):
        FrozenStore(outputs.store.path, "another")


def _draws(sample: Sample, index: int, rng: Any) -> Sample:
    if index == 3:
        rng.random()
    return sample


def _spawns(sample: Sample, index: int, rng: Any) -> Sample:
    (child,) = rng.spawn(1)
    return {**sample, "image": sample["image"] + child.random(dtype=np.float32)}


@pytest.mark.parametrize(("sees", "index"), [(_draws, 3), (_spawns, 0)])
def test_data_that_draw_random_numbers_are_refused_where_the_recipe_says_cache(
    tmp_path: Path, sees: Callable[[Sample, int, Any], Sample], index: int
) -> None:
    with pytest.raises(
        InputError, match=rf"{WHERE}: data\.train .* draws random numbers for sample {index}"
    ) as refused:
        filled(tmp_path, of=shown(source(sees)))
    assert 'cache = "off"' in refused.value.advice


def test_data_that_begin_to_draw_are_refused_at_that_draw(tmp_path: Path) -> None:
    outputs, _ = filled(tmp_path)
    random_later = FrozenSamples(shown(source(_draws)), outputs.store, None, filled=False)
    drawn(random_later, 2)
    with pytest.raises(InputError, match="draws random numbers for sample 3"):
        drawn(random_later, 3)


@pytest.mark.parametrize(
    "sees",
    [
        lambda sample, index, rng: {**sample, "image": sample["image"] + random.random()},
        lambda sample, index, rng: {**sample, "id": f"{index}!"},
        lambda sample, index, rng: {**sample, "more": np.float32(1)},
        lambda sample, index, rng: {**sample, "image": sample["image"].reshape(1, 6, 4)},
        lambda sample, index, rng: {**sample, "image": sample["image"].astype(np.float64)},
    ],
    ids=["random by other means", "name", "field", "shape", "type"],
)
def test_a_sample_that_is_not_what_the_base_saw_is_told(
    tmp_path: Path, sees: Callable[[Sample, int, Any], Sample]
) -> None:
    outputs, _ = filled(tmp_path)
    with pytest.raises(WorldError, match=r"sample 4 of data\.train .* is not the one that .*store\.zarr was computed"):
        drawn(FrozenSamples(shown(source(sees)), outputs.store, None, filled=False), 4)


def test_a_sample_is_compared_when_a_run_first_draws_it_and_then_the_data_are_left_alone(tmp_path: Path) -> None:
    outputs, _ = filled(tmp_path)
    read: list[int] = []

    def noted(sample: Sample, index: int, rng: Any) -> Sample:
        read.append(index)
        return sample

    again = FrozenSamples(shown(source(noted)), outputs.store, None, filled=False)
    for _ in range(3):
        drawn(again, 2)
    assert read == [2]
    drawn(FrozenSamples(shown(source(noted)), outputs.store, None, filled=True), 4)
    assert read == [2], "who filled the store has seen the data"


def test_data_that_are_not_the_same_twice_are_refused_while_the_store_is_filled(tmp_path: Path) -> None:
    changing = source(lambda sample, index, rng: {**sample, "image": sample["image"] + random.random()})
    with pytest.raises(InputError, match=r"sample 0 of data\.train .* is not the same twice"):
        filled(tmp_path, of=shown(changing))


def test_the_digest_changes_with_the_data() -> None:
    assert digest({"image": np.zeros(1)}) == digest({"image": np.zeros(1)})
    assert digest({"image": np.zeros(1)}) != digest({"image": -np.zeros(1)})


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda batch: Prediction(batch["image"], features={"sum": batch["image"].sum()}), "features.sum"),
        (lambda batch: Prediction(batch["image"], intermediates=[batch["image"][0][None]]), "intermediates.0"),
        (lambda batch: Prediction(batch["image"], base=Prediction(batch["image"])), "further parts"),
        (lambda batch: Prediction(batch["image"], features={"name": "text"}), "features.name"),
    ],
    ids=["scalar", "one for the batch", "corrected", "text"],
)
def test_an_answer_that_cannot_be_taken_apart_by_sample_is_refused(
    tmp_path: Path, answer: Callable[[Batch], Prediction], part: str
) -> None:
    with pytest.raises(InputError, match=rf"{WHERE}: the base's .*{part}.* cannot be kept"):
        filled(tmp_path, answer)


def test_answers_of_other_types_than_the_first_are_refused(tmp_path: Path) -> None:
    def odd(batch: Batch) -> Prediction:
        late = batch["image"].max() > 2
        return Prediction(batch["image"], confidence=batch["image"].double() if late else batch["image"])

    with pytest.raises(InputError, match=r"for sample 3 the base's answer or the fields are others than for the first"):
        filled(tmp_path, odd, batch=1)


def test_samples_of_several_sizes_are_asked_and_kept_by_size(tmp_path: Path) -> None:
    growing = source(lambda sample, index, rng: {**sample, "image": np.zeros((1, 4, 6 + index), np.float32)})
    outputs, _ = filled(tmp_path, lambda batch: Prediction(batch["image"]), shown(growing))
    assert [drawn(outputs, index)[FROZEN]["value"].shape[-1] for index in range(COUNT)] == [6, 7, 8, 9, 10]


def test_only_declared_fields_are_kept_and_another_is_told_by_name(tmp_path: Path) -> None:
    data = source(lambda sample, index, rng: {**sample, "wide": np.zeros((1, 4, 6), np.float32)})
    outputs, _ = filled(tmp_path, of=shown(data, reads=frozenset({"image", "id", "base.value"})))
    assert sorted(path.name for path in (outputs.store.path / "group-0").glob("*/")) == ["base.value", "image"]
    (batch,) = training_batches(outputs, Order(COUNT, 2, 0, "B"), 0, 1, workers=0, pin=False)
    for read in (lambda: batch["wide"], lambda: batch.get("wide"), lambda: "wide" in batch):
        with pytest.raises(UndeclaredFieldError, match="'wide'"):
            read()
    assert "never there" not in batch


class Cut(Images):
    """Images that are cut to their first columns or their last, as the draw says."""

    def augment(self, sample: Sample, rng: np.random.Generator) -> Sample:
        columns = slice(0, 3) if rng.random() < 0.5 else slice(3, 6)
        pictures = {name: value[..., columns] for name, value in sample.items() if np.ndim(value) == 3}
        return {**sample, **pictures}


def test_a_whole_frame_and_its_answer_are_cut_alike_from_the_store_and_without_one(tmp_path: Path) -> None:
    data = Source(Cut(lambda s, i, rng: {**s, "image": s["image"] + np.arange(6, dtype=np.float32)}), "cut", False)
    of = shown(data, after=True, reads=frozenset({"image", "id", "base.value"}))

    def answer(batch: Batch) -> Prediction:
        return Prediction(2 * batch["image"], intermediates=[batch["image"][..., ::2, ::2]])

    outputs, _ = filled(tmp_path, answer, of)
    order = Order(COUNT, 2, 0, "B")
    stored = training_batches(outputs, order, 0, 6, workers=2, pin=False)
    live = WholeFrames(of, answer).batches(order, 0, 6, workers=0)
    places = set()
    for one, other in zip(stored, live, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert one["image"].shape == (2, 1, 4, 3)
        assert torch.equal(one[FROZEN]["value"], 2 * one["image"])
        assert torch.equal(other[FROZEN]["value"], 2 * one["image"])
        assert one.left_out == other.left_out == {"base.intermediates.0"}
        places |= set((one["image"][:, 0, 0, 0] - torch.tensor([float(name) for name in one["id"]])).tolist())
    assert places == {0, 3}, "both cuts were drawn"


def test_an_answer_of_another_size_than_the_target_cannot_be_cut(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{WHERE}: the base's .*intermediates\.0 \(1, 2, 3\).* cannot be cut like"):
        filled(tmp_path, of=shown(Source(Cut(), "cut", False), after=True))


def _damaged(sample: Sample, index: int, rng: Any) -> Sample:
    if index in (0, 3):
        raise DamagedDataError("image", str(index), "its file is cut short")
    return sample


def test_damaged_samples_are_passed_over_where_the_recipe_says_so(tmp_path: Path) -> None:
    outputs, _ = filled(tmp_path, of=shown(source(_damaged, skips=True)))
    passed = Augmented(outputs, 0, "B")[(0, (0, 3))]
    assert [str(each.sample) for each in passed.damaged] == ["3"]
    assert torch.equal(passed.left[FROZEN]["value"], torch.full((1, 4, 6), 4 / 3))
    repaired = FrozenSamples(shown(source()), outputs.store, None, filled=False)
    with pytest.raises(WorldError, match=r"sample 3 .* is not the one"):
        drawn(repaired, 3)


def test_a_damaged_sample_stops_the_computation_where_the_recipe_does_not_pass_it(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="sample 0 is damaged"):
        filled(tmp_path, of=shown(source(_damaged)))

"""What a frozen base answers comes back from the disk bit for bit, or an error says what is damaged."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.contracts import Sample
from engine.data.frozen import FrozenOutputs, fill, first_digest
from engine.data.frozen_store import FrozenStore
from engine.data.loader import Augmented, Order, generator, training_batches
from engine.data.source import Source
from engine.errors import DamagedDataError, EngineError, InputError, WorldError
from engine.prediction import Batch, Prediction
from engine.reading import FROZEN

WHERE = "recipe.toml:7:1"
ABOUT = {"key": "the key"}
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


def filled(
    folder: Path, answer: Callable[[Batch], Prediction] = rich, data: Source | None = None
) -> tuple[FrozenOutputs, float]:
    data = data or source()
    apart = fill(folder / "store.zarr", data, answer, WHERE, ABOUT, lambda done, total, what: None)
    return FrozenOutputs(data, FrozenStore(folder / "store.zarr", ABOUT["key"]), WHERE), apart


def drawn(outputs: FrozenOutputs, index: int) -> Sample:
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
    whole = drawn(outputs, 3)[FROZEN]
    store = pickle.loads(pickle.dumps(outputs.store))
    assert torch.equal(store.tensors(3)["value"], whole["value"])


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
@pytest.mark.parametrize("name", ["value", "visibility", "intermediates.1", "inputs"])
def test_a_damaged_chunk_is_named_and_never_read(tmp_path: Path, name: str, damage: Callable[[Path], Any]) -> None:
    outputs, _ = filled(tmp_path)
    (chunk,) = (tmp_path / "store.zarr" / name).glob("c.3.*")
    damage(chunk)
    assert drawn(outputs, 2)[FROZEN]["value"][0, 0, 0] == 2 / torch.tensor(3.0)
    with pytest.raises(WorldError, match=rf"store\.zarr is damaged: array '{name}', sample 3: .*; delete that folder"):
        drawn(outputs, 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FrozenOutputs:
    return filled(tmp_path_factory.mktemp("finished"))[0]


@pytest.mark.parametrize("file", ["zarr.json", "value/zarr.json", "inputs/zarr.json"])
@given(where=st.floats(0, 1, exclude_max=True), put=st.binary(max_size=3), instead_of=st.integers(0, 40))
def test_damaged_metadata_are_told_or_harmless(
    finished: FrozenOutputs, file: str, where: float, put: bytes, instead_of: int
) -> None:
    path = finished.store.path / file
    content = path.read_bytes()
    at = int(where * len(content))
    path.write_bytes(content[:at] + put + content[at + instead_of :])
    told = ""
    try:
        store = FrozenStore(finished.store.path, ABOUT["key"])
        tensors = drawn(FrozenOutputs(finished.source, store, WHERE), 1)[FROZEN]
    except WorldError as error:
        told = str(error)
    finally:
        path.write_bytes(content)
    if told:
        assert "store.zarr is damaged: " in told
    else:
        same(
            Prediction.of_tensors({name: each[None] for name, each in tensors.items()}),
            rich({"image": torch.ones(1, 1, 4, 6)}),
        )


def test_a_store_of_another_key_is_not_read(tmp_path: Path) -> None:
    outputs, _ = filled(tmp_path)
    with pytest.raises(WorldError, match="another key"):
        FrozenStore(outputs.store.path, "another").tensors(0)


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
        filled(tmp_path, data=source(sees))
    assert 'cache = "off"' in refused.value.advice


def test_data_that_begin_to_draw_are_refused_at_that_draw(tmp_path: Path) -> None:
    outputs, _ = filled(tmp_path)
    random_later = FrozenOutputs(source(_draws), outputs.store, WHERE)
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
        drawn(FrozenOutputs(source(sees), outputs.store, WHERE), 4)


def test_the_first_digest_changes_with_the_data() -> None:
    assert first_digest(source(), WHERE) == first_digest(source(), WHERE)
    other = source(lambda sample, index, rng: {**sample, "image": -sample["image"]})  # -0.0 in the first
    assert first_digest(source(), WHERE) != first_digest(other, WHERE)


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


def test_answers_of_several_sizes_are_refused(tmp_path: Path) -> None:
    growing = source(lambda sample, index, rng: {**sample, "image": np.zeros((1, 4, 6 + index), np.float32)})
    with pytest.raises(
        InputError, match=r"'value' is float32 \(1, 4, 6\) for the first sample, and .*7\) for sample 1"
    ):
        filled(tmp_path, lambda batch: Prediction(batch["image"]), growing)


def _damaged(sample: Sample, index: int, rng: Any) -> Sample:
    if index in (0, 3):
        raise DamagedDataError("image", str(index), "its file is cut short")
    return sample


def test_damaged_samples_are_passed_over_where_the_recipe_says_so(tmp_path: Path) -> None:
    outputs, _ = filled(tmp_path, data=source(_damaged, skips=True))
    passed = Augmented(outputs, 0, "B")[(0, 3)]
    assert [str(each.sample) for each in passed.damaged] == ["3"]
    assert torch.equal(passed.left[FROZEN]["value"], torch.full((1, 4, 6), 4 / 3))
    repaired = FrozenOutputs(source(), outputs.store, WHERE)
    with pytest.raises(WorldError, match=r"sample 3 .* is not the one"):
        drawn(repaired, 3)


def test_a_damaged_sample_stops_the_computation_where_the_recipe_does_not_pass_it(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="sample 0 is damaged"):
        filled(tmp_path, data=source(_damaged))

"""Pictures of many sizes train in one stage: each batch has one size, which follows from seed, stage and step alone."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stereo_pairs
import torch
from conftest import Command, WriteRecipe
from engine_stereo.data.buckets import Buckets
from engine_stereo.data.frames import Frames
from engine_stereo.data.manifest import manifest
from engine_stereo.data.options import FramesOptions, ManifestOptions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.data.draws import of_sample
from engine.data.loader import Order, training_batches
from engine.errors import InputError
from engine.prediction import Batch
from engine.recipe import load_recipe

MIXED = [(60, 100), (96, 160), (130, 250), (72, 200), (128, 96), (64, 128)]
SMALL = {"count": 1, "transparent": False, "width": 128, "height": 96}
AREAS = {"area": [64 * 96, 128 * 192], "aspect": [1.0, 2.0]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of pairs of mixed sizes."""
    folder = tmp_path_factory.mktemp("mixed")
    for number, (height, width) in enumerate(MIXED):
        stereo_pairs.write_pair(folder, str(number), stereo_pairs.pair(number, height, width, 3.0, 9.0))
    (folder / "own.toml").write_text(stereo_pairs.PLAIN)
    return folder / "own.toml"


def mixed(files: Path, **more: Any) -> Frames:
    options = {"buckets": AREAS, **more}
    return manifest(ManifestOptions.model_validate({"file": files, **options}))


def batches(data: Frames, first: int = 0, last: int = 12, workers: int = 0, **order: Any) -> Iterator[Batch]:
    where = {"batch": 2, "share": (0, 1), **order}
    order_of = Order(len(data), where["batch"], 3, "A", where["share"])
    return training_batches(data, order_of, first, last, workers=workers, pin=False)


def same(one: Batch, other: Batch) -> bool:
    return list(one["id"]) == list(other["id"]) and all(
        torch.equal(one[name], other[name]) for name in ("left", "right", "disparity", "valid")
    )


@given(
    seed=st.integers(0, 999),
    multiple=st.sampled_from([1, 14, 32]),
    area=st.tuples(st.integers(100_000, 300_000), st.integers(300_000, 1_000_000)),
)
def test_a_size_is_in_multiples_and_as_near_to_its_area_and_aspect_as_they_come(
    seed: int, multiple: int, area: tuple[int, int]
) -> None:
    height, width = Buckets(area=area, multiple=multiple).draw(np.random.default_rng(seed))
    assert height % multiple == width % multiple == 0
    off = multiple / 2
    assert (height - off) * (width - off) <= area[1]
    assert area[0] <= (height + off) * (width + off)
    assert (width - off) / (height + off) <= 2
    assert (width + off) / (height - off) >= 0.5


def test_sizes_spread_over_their_whole_range_and_a_list_gives_all_of_its_sizes() -> None:
    draws = [Buckets.model_validate(AREAS).draw(np.random.default_rng(seed)) for seed in range(200)]
    areas = np.array([height * width for height, width in draws])
    assert len(set(draws)) >= 6
    assert areas.min() < 1.2 * AREAS["area"][0]
    assert areas.max() > AREAS["area"][1] / 1.2
    listed = Buckets(sizes=[(64, 96), (96, 64)])
    assert {listed.draw(np.random.default_rng(seed)) for seed in range(20)} == {(64, 96), (96, 64)}


@pytest.mark.parametrize(
    "wrong",
    [{}, {"area": [9, 99], "sizes": [[32, 32]]}, {"sizes": [[32, 33]]}, {"area": [99, 9]}, {"sizes": []}],
)
def test_buckets_that_say_nothing_or_two_things_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Buckets.model_validate(wrong)
    with pytest.raises(ValidationError, match="crop is one size and buckets are several"):
        FramesOptions.model_validate({"crop": [32, 32], "buckets": AREAS})


def test_every_batch_has_one_size_and_batches_have_several(files: Path) -> None:
    seen = [tuple(batch["left"].shape) for batch in batches(mixed(files))]
    assert {(count, channels) for count, channels, *_ in seen} == {(2, 3)}
    assert all(height % 32 == width % 32 == 0 for *_, height, width in seen)
    assert len(set(seen)) >= 3
    whole = mixed(files).sample(2, None)  # evaluation sees all of it
    assert whole["left"].shape == (3, 130, 250)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_starting_late_gives_the_same_pixels_for_any_number_of_workers(files: Path, workers: int) -> None:
    whole = list(batches(mixed(files)))
    late = list(batches(mixed(files), first=5, workers=workers))
    assert len(late) == 7
    assert all(same(one, other) for one, other in zip(whole[5:], late, strict=True))


def test_the_shares_of_two_processes_make_up_the_batch_of_one(files: Path) -> None:
    alone = batches(mixed(files), batch=4, last=6)
    shares = (batches(mixed(files), share=(process, 2), last=6) for process in range(2))
    for whole, one, other in zip(alone, *shares, strict=True):
        both = {name: torch.cat([one[name], other[name]]) for name in ("left", "right", "disparity", "valid")}
        assert same(whole, {**both, "id": [*one["id"], *other["id"]]})


def test_random_numbers_of_a_sample_stay_those_of_its_batch_on_their_way_to_another_process() -> None:
    one = of_sample(0, "A", (0, 1), 7)
    other = pickle.loads(pickle.dumps(of_sample(0, "A", (0, 2), 7)))
    assert one.batch.random() == other.batch.random()
    assert one.random() != other.random()


def test_a_picture_that_is_too_small_is_made_larger_and_its_truth_with_it(files: Path) -> None:
    data = mixed(files, buckets={"sizes": [[128, 192]]})
    (small,) = (batch for batch in batches(data, last=6, batch=1) if batch["id"] == ["l/0"])
    left, right = (small[side][0].numpy() for side in ("left", "right"))
    disparity = small["disparity"][0, 0].numpy()
    assert left.shape == (3, 128, 192)
    valid = small["valid"][0, 0].numpy()
    assert disparity[valid].min() > 3 * 128 / 60 - 0.5
    assert disparity.max() < 9 * 128 / 60 + 0.5
    seen, inside = stereo_pairs.seen_from_left(right, disparity)
    inside &= valid
    off = np.abs(seen - left).mean(0)[inside].mean()
    wrong, _ = stereo_pairs.seen_from_left(right, disparity * 60 / 128)
    assert off < 4 < 5 * off < np.abs(wrong - left).mean(0)[inside].mean()


def test_a_mix_of_sets_with_the_same_buckets_has_one_size_a_batch(toy_recipe: WriteRecipe, files: Path) -> None:
    def loaded(other: dict[str, Any]) -> Any:
        one = {"plugin": "manifest", "file": str(files), "buckets": AREAS, "probability": 0.5}
        train = {"plugin": "mix", "sets": [one, {**one, "buckets": other}]}
        recipe = load_recipe(toy_recipe(data={"train": train}))
        return recipe.registry.get("datasets", "mix").build(recipe.data["train"].options)

    sizes = [batch["left"].shape for batch in batches(loaded(AREAS), last=6)]
    assert len(set(sizes)) > 1
    with pytest.raises(InputError, match="field 'left' differs in size"):
        next(batches(loaded({"sizes": [[32, 32]]}), last=1))


def test_sets_of_several_sizes_are_cut_one_by_one_and_not_around_their_mix(
    toy_recipe: WriteRecipe, files: Path
) -> None:
    def loaded(train: dict[str, Any]) -> Any:
        recipe = load_recipe(toy_recipe(data={"train": train}))
        return recipe.registry.get("datasets", train["plugin"]).build(recipe.data["train"].options)

    sets = [{"plugin": "manifest", "file": str(files), "limit": 1}, {"plugin": "polarized_scenes", **SMALL}]
    around = {
        "plugin": "augmented",
        "buckets": AREAS,
        "of": {"plugin": "mix", "sets": [{**each, "probability": 0.5} for each in sets]},
    }
    with pytest.raises(InputError, match="field 'left' differs in size") as refused:
        next(batches(loaded(around), last=1))
    assert refused.value.advice.startswith("cut each set of the mix to the same size")

    each = [{"plugin": "augmented", "buckets": AREAS, "of": one, "probability": 0.5} for one in sets]
    seen = [batch["left"].shape for batch in batches(loaded({"plugin": "mix", "sets": each}), last=6)]
    assert len(set(seen)) > 1


def test_what_training_draws_is_no_mistake_for_its_sizes_nor_for_samples_that_come_again(
    engine: Command, tmp_path: Path, files: Path
) -> None:
    def found(buckets: str) -> list[str]:
        (tmp_path / "mixed.toml").write_text(
            'name = "mixed"\nmodel = { plugin = "s2m2" }\n'
            f'data.train = {{ plugin = "manifest", file = "{files}"{buckets} }}\n'
            f'data.val = {{ plugin = "manifest", file = "{files}" }}\n'
            'train = { batch_size = 2, losses = [{ name = "disparity_l1" }] }\n'
            'stage = [{ name = "A", trainable = ["base.**"], steps = 8 }]\n'
        )
        done = engine("data", "inspect", "mixed.toml", "--drawn", "--samples", 16, "--json")
        (drawn,) = json.loads(done.out)["sets"]
        assert len(set(drawn["ids"])) < len(drawn["ids"]) == 16
        return [finding["what"] for finding in drawn["findings"] if finding["level"] == "warning"]

    assert not [
        what for what in found(", buckets = { sizes = [[64, 96], [96, 64]] }") if "sizes" in what or "id" in what
    ]
    assert any("samples of a batch have" in what and "sizes" in what for what in found(""))

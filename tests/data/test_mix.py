"""A mix draws from each set with its probability, as a function of the draw alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command, WriteRecipe, only_run
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from engine.data.draws import generator
from engine.data.loader import Fixed, Order, evaluation_batches, training_batches
from engine.data.mix import Mix
from engine.data.options import MixOptions
from engine.data.source import Source
from engine.errors import DamagedDataError, InputError, PluginError, WorldError
from engine.hookspecs import hookimpl
from engine.plugins import Plugins
from engine.recipe import load_recipe


class NumberedOptions(BaseModel):
    name: str
    count: int = 10
    size: int = 4
    bad: tuple[int, ...] = ()
    depth: bool = False
    scenes: bool = True


class Numbered:
    """Sample i of the set is named after both and has one random number of the draw's."""

    def __init__(self, options: NumberedOptions) -> None:
        self.options = options
        if not options.scenes:
            self.scenes = None

    def __len__(self) -> int:
        return self.options.count

    def prepare(self, progress: Any) -> None:
        progress(1, 1, self.options.name)

    def scenes(self) -> list[str]:
        return [f"{self.options.name}-{index}" for index in range(self.options.count)]

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        name = f"{self.options.name}-{index}"
        if index in self.options.bad:
            raise DamagedDataError("image", name, "x.bin is cut short")
        noise = 0.0 if rng is None else rng.random()
        image = np.full((1, self.options.size, self.options.size), noise, np.float32)
        return {"image": image, "id": name, "scene": name} | ({"depth": image} if self.options.depth else {})


@hookimpl
def engine_datasets(register: Any) -> None:
    register("numbered", NumberedOptions, Numbered)


def mix(*sets: dict[str, Any]) -> Mix:
    """A mix of numbered sets as a recipe makes it."""
    options = MixOptions.model_validate({"sets": [{"plugin": "numbered", **each} for each in sets]})
    registry = Plugins()
    registry.add_installed("numbers", "numbers 1.0", lambda: __import__(__name__))
    for table in options.sets:
        table.options, table._registry = NumberedOptions(**table.options), registry
    return Mix(options)


def two(**more: Any) -> Mix:
    return mix(
        {"probability": 0.7, "name": "large", "count": 40} | more, {"probability": 0.3, "name": "small", "count": 5}
    )


def ids(data: Mix, count: int) -> list[str]:
    draws = Order(len(data), 1, 0, "A").draws
    return [
        data.sample(index, generator(0, "A", 1, epoch, index))["id"] for i in range(count) for epoch, index in draws(i)
    ]


def test_each_set_comes_as_often_as_its_probability_says_whatever_its_length() -> None:
    drawn = Counter(name.partition("-")[0] for name in ids(two(), 4000))
    assert drawn["small"] / 4000 == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 4000))


def test_the_samples_of_a_set_come_equally_often() -> None:
    drawn = Counter(ids(two(), 4000))
    for name, count, share in (("large", 40, 0.7 / 40), ("small", 5, 0.3 / 5)):
        shares = [drawn[f"{name}-{index}"] / 4000 for index in range(count)]
        assert shares == pytest.approx([share] * count, abs=4 * np.sqrt(share / 4000))


def test_an_epoch_is_as_long_as_the_sets_together() -> None:
    assert len(two()) == 45


@given(st.integers(0, 44), st.integers(0, 3))
def test_a_draw_gives_the_same_sample_in_another_mix_object_and_order(index: int, epoch: int) -> None:
    one, other = two(), two()
    other.sample((index + 7) % 45, np.random.default_rng(5))
    first, again = (data.sample(index, generator(0, "A", 1, epoch, index)) for data in (one, other))
    assert first["id"] == again["id"]
    assert np.array_equal(first["image"], again["image"])


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_late_gives_the_batches_that_skipping_gives(workers: int) -> None:
    order = Order(45, 3, 0, "A")
    whole = list(training_batches(two(), order, 0, 9, workers=0, pin=False))
    late = list(training_batches(two(), order, 4, 9, workers=workers, pin=False))
    assert [batch["id"] for batch in late] == [batch["id"] for batch in whole[4:]]
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(late, whole[4:], strict=True))


def test_in_evaluation_the_sets_follow_one_another() -> None:
    data = mix({"probability": 0.5, "name": "a", "count": 2}, {"probability": 0.5, "name": "b", "count": 3})
    found = [name for batch in evaluation_batches(Fixed(data), 2, workers=0, pin=False) for name in batch["id"]]
    assert found == ["a-0", "a-1", "b-0", "b-1", "b-2"]
    with pytest.raises(IndexError, match="5 samples"):
        data.sample(5, None)


def test_scenes_of_every_set_that_names_them_are_named() -> None:
    data = mix(
        {"probability": 0.5, "name": "a", "count": 2}, {"probability": 0.5, "name": "b", "count": 1, "scenes": False}
    )
    assert data.scenes() == ["a-0", "a-1"]


def test_every_set_prepares_what_it_reads() -> None:
    told: list[str] = []
    two().prepare(lambda done, total, what: told.append(what))
    assert told == ["large", "small"]


def test_a_damaged_sample_is_passed_over_within_its_set() -> None:
    bad = tuple(range(20))
    told: list[str] = []
    data = two(bad=bad)
    source = Source(data, "data.train (mix)", True, lambda found: told.extend(each.sample for each in found))
    batches = list(training_batches(source, Order(45, 3, 0, "A"), 0, 30, workers=0, pin=False))
    drawn = [name for batch in batches for name in batch["id"]]
    assert set(told) <= {f"large-{index}" for index in bad}
    assert told
    assert not set(drawn) & set(told)
    wanted = [name.partition("-")[0] for name in ids(two(), 90)]
    assert [name.partition("-")[0] for name in drawn] == wanted  # damage moves no draw to another set


def test_samples_have_the_fields_that_all_sets_bring() -> None:
    data = two(depth=True)
    assert all(
        data.sample(index, np.random.default_rng(index)).keys() == {"image", "id", "scene"} for index in range(9)
    )
    assert data.sample(0, None).keys() == {"image", "id", "scene"}


def test_training_on_two_sizes_is_refused_before_they_meet_in_a_batch() -> None:
    data = two(size=6)
    with pytest.raises(
        InputError, match=r"'image' differs in size: \(1, 6, 6\) in set 1 of the mix \(numbered\), \(1, 4"
    ):
        data.sample(0, np.random.default_rng(0))
    assert data.sample(0, None)["image"].shape == (1, 6, 6)


def test_the_sizes_of_a_set_are_told_by_its_first_sample_that_reads() -> None:
    assert two(bad=(0, 1)).sample(44, np.random.default_rng(1))
    with pytest.raises(WorldError, match=r"set 1 of the mix \(numbered\): all of its 40 samples are damaged"):
        two(bad=tuple(range(40))).sample(44, np.random.default_rng(1))


def test_an_empty_set_is_named() -> None:
    with pytest.raises(InputError, match=r"set 1 of the mix \(numbered\) holds no samples"):
        len(two(count=0))


def test_a_set_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Numbered, "sample", lambda *_: 1 / 0)
    with pytest.raises(PluginError, match=r"set 1 of the mix \(numbered\) failed at sample 0: ZeroDivisionError"):
        two().sample(44, None)


TOYS = [{"plugin": "toy", "probability": 0.75, "count": 9}, {"plugin": "toy", "probability": 0.25, "offset": 0.2}]


@pytest.mark.usefixtures("quick_processes")
def test_a_run_on_a_mix_that_is_stopped_and_killed_goes_on_bit_for_bit(
    engine: Command, toy_recipe: WriteRecipe
) -> None:
    outcome = engine("verify-resume", toy_recipe(data={"train": {"plugin": "mix", "sets": TOYS}}), "--steps", "4")
    assert outcome.code == 0, outcome.err


def test_a_run_keeps_its_mix_with_every_default_of_its_sets(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    stage = {"name": "A", "trainable": ["base.**"], "injection": False, "steps": 2}
    outcome = engine("run", toy_recipe(data={"train": {"plugin": "mix", "sets": TOYS}}, stage=[stage]))
    assert outcome.code == 0, outcome.err
    (kept,) = only_run(tmp_path).glob("recipe*.json")
    sets = json.loads(kept.read_text())["data"]["train"]["sets"]
    assert [each["offset"] for each in sets] == [0.6, 0.2]
    assert load_recipe(kept).resolved() == load_recipe("toy.toml").resolved() | {
        "stage": json.loads(kept.read_text())["stage"]
    }


def test_the_mix_of_the_guide_is_one_that_a_recipe_may_have(toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    (block,) = (text for text in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL) if 'plugin = "mix"' in text)
    (tmp_path / "mixed.toml").write_text(f'extends = "{toy_recipe().name}"\n{block}')
    sets = load_recipe(tmp_path / "mixed.toml").data["train"].options.sets
    assert [(each.plugin, each.probability, each.options.crop) for each in sets] == [
        ("sceneflow", 0.7, (320, 736)),
        ("kitti2015", 0.3, (320, 736)),
    ]
    assert sets[0].options.augment.scale == (0.8, 1.3)

"""Some samples of a data set, or all others, the same whenever they are asked for."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import WriteRecipe

from engine.data.loader import Fixed, evaluation_batches
from engine.errors import InputError
from engine.recipe import load_recipe
from engine.stages.session import open_session


def ids(toy_recipe: WriteRecipe, **options: Any) -> list[str]:
    table = {"plugin": "subset", "of": {"plugin": "toy", "count": 12}, **options}
    recipe = load_recipe(toy_recipe(data={"train": table}))
    data = recipe.registry.get("datasets", "subset").build(recipe.data["train"].options)
    return [name for batch in evaluation_batches(Fixed(data), 5, workers=0, pin=False) for name in batch["id"]]


def test_the_first_ones_without_a_seed(toy_recipe: WriteRecipe) -> None:
    assert ids(toy_recipe, count=3) == ["train-0", "train-1", "train-2"]


def test_a_seed_chooses_others_and_a_greater_count_adds_to_them(toy_recipe: WriteRecipe) -> None:
    few = [set(ids(toy_recipe, count=count, seed=1)) for count in (1, 4, 9)]
    assert [len(each) for each in few] == [1, 4, 9]
    assert few[0] < few[1] < few[2]
    assert ids(toy_recipe, count=4, seed=1) == ids(toy_recipe, count=4, seed=1)
    assert ids(toy_recipe, count=4, seed=1) != ids(toy_recipe, count=4, seed=2)


def test_the_rest_is_what_is_not_chosen(toy_recipe: WriteRecipe) -> None:
    chosen, rest = (set(ids(toy_recipe, count=5, seed=3, rest=rest)) for rest in (False, True))
    assert chosen | rest == {f"train-{index}" for index in range(12)}
    assert not chosen & rest


def test_more_than_there_are_is_an_error(toy_recipe: WriteRecipe) -> None:
    with pytest.raises(InputError, match="a subset of 13 samples of 12"):
        ids(toy_recipe, count=13)
    recipe = toy_recipe(data={"train": {"plugin": "subset", "count": 0, "of": {"plugin": "toy"}}})
    with pytest.raises(InputError, match="count"):
        load_recipe(recipe)


def test_one_part_of_a_set_may_train_and_the_other_be_held_out(toy_recipe: WriteRecipe) -> None:
    of = '{ plugin = "polarized_scenes", count = 4 }'
    part = f'{{ plugin = "subset", of = {of}, count = 2, rest = %s }}'
    apart = load_recipe(toy_recipe(), [f"data.train={part % 'true'}", f"data.val={part % 'false'}"])
    open_session(apart).check_scenes()  # the whole set names the same four scenes for both

    same = load_recipe(toy_recipe(), [f"data.train={of}", f"data.val={of}"])
    with pytest.raises(InputError, match=r"data\.val holds 4 scenes that data\.train trains on"):
        open_session(same).check_scenes()


SCENES = '{ plugin = "polarized_scenes", count = 4, transparent = false }'


@pytest.mark.parametrize(
    "whole",
    [
        SCENES,
        f'{{ plugin = "mirrored", of = {SCENES} }}',
        f'{{ plugin = "augmented", of = {SCENES} }}',
        f'{{ plugin = "subset", count = 3, of = {SCENES} }}',
        f'{{ plugin = "mix", sets = [{{ probability = 1.0, {SCENES[2:]}] }}',
    ],
)
def test_a_part_held_out_of_the_whole_that_trains_is_refused(toy_recipe: WriteRecipe, whole: str) -> None:
    part = f'{{ plugin = "subset", count = 2, of = {whole} }}'
    recipe = load_recipe(toy_recipe(), [f"data.train={whole}", f"data.val={part}"])
    with pytest.raises(InputError, match=r"data\.val holds 2 scenes that data\.train trains on \(train-00000 of seed"):
        open_session(recipe).check_scenes()


def test_of_a_set_that_does_not_tell_a_scene_of_each_sample_nothing_is_known(toy_recipe: WriteRecipe) -> None:
    sets = f'[{{ probability = 0.5, {SCENES[2:]}, {{ probability = 0.5, plugin = "toy" }}]'
    part = f'{{ plugin = "subset", count = 2, of = {{ plugin = "mix", sets = {sets} }} }}'
    open_session(load_recipe(toy_recipe(), [f"data.train={SCENES}", f"data.val={part}"])).check_scenes()

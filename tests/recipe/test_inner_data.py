"""Data sets within a data set: their options are checked with the recipe, each mistake where it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.recipe import load_recipe
from engine.recipe.schema import inner_plugins
from recipe.conftest import Load

DATA = '[data.train]\nplugin = "toy-data"'
MIX = '[data.train]\nplugin = "mix"\nsets = [\n'
GOOD = '{ plugin = "toy-data", probability = 0.25, root = "a" },\n'


def mix(*lines: str) -> str:
    return MIX + "".join(f"{line}\n" for line in lines) + "]"


def problems(load: Load, *lines: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(DATA, mix(*lines))
    return [str(problem) for problem in caught.value.problems]


def test_a_mix_holds_the_options_of_its_sets_with_paths_from_the_recipe(load: Load, folder: Path) -> None:
    recipe = load(
        DATA,
        mix(
            '{ plugin = "toy-data", probability = 0.25, root = "a", crop = { height = 4, mask = "m.png" } },',
            '{ plugin = "toy-data", probability = 0.75, extra = ["b"] },',
        ),
    )
    first, second = recipe.data["train"].options.sets
    assert (first.options.root, first.options.crop.mask) == (folder / "a", folder / "m.png")
    assert first.options.crop.height == 4
    assert second.options.extra == [folder / "b"]
    assert list(inner_plugins(recipe.data["train"].options)) == ["toy-data", "toy-data"]


def test_a_mix_may_hold_a_mix(load: Load, folder: Path) -> None:
    inner = '{ plugin = "mix", probability = 0.75, sets = [{ plugin = "toy-data", probability = 1, root = "b" }] }'
    recipe = load(DATA, mix(GOOD, inner))
    assert recipe.data["train"].options.sets[1].options.sets[0].options.root == folder / "b"
    assert list(inner_plugins(recipe.data["train"].options)) == ["toy-data", "mix", "toy-data"]


def test_the_resolved_recipe_reads_back_as_it_was(load: Load, folder: Path) -> None:
    recipe = load(DATA, mix(GOOD, '{ plugin = "toy-data", probability = 0.75 }'))
    (folder / "kept.json").write_text(json.dumps(recipe.resolved()))
    again = load_recipe("kept.json")
    assert again.resolved() == recipe.resolved()
    assert again.data["train"].options.sets[0].options == recipe.data["train"].options.sets[0].options


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['{ plugin = "toy-data", probability = 0.75, rot = "b" }'], "recipe.toml:15:44: unknown key 'rot' in"),
        (['{ plugin = "toy-dat", probability = 0.75 }'], "recipe.toml:15:3: no plugin brings the data set 'toy-dat'"),
        (['{ plugin = "toy-data" }'], "recipe.toml:15:1: the key 'probability' is missing in [data.train.sets]"),
        (["{ probability = 0.75 }"], "recipe.toml:15:1: the key 'plugin' is missing in [data.train.sets]"),
        (
            ['{ plugin = "toy-data", probability = "0.75" }'],
            "recipe.toml:15:24: 'probability' is the text '0.75'; expected a number",
        ),
        (
            ['{ plugin = "toy-data", probability = 0.75, crop = { height = "4" } }'],
            "recipe.toml:15:53: 'height' is the text '4'; expected a whole number",
        ),
        (["7"], "recipe.toml:15:1: 'sets[1]' is 7; expected a table"),
        (
            ['{ plugin = "toy-data", probability = 0.5 }'],
            "recipe.toml:11:1: 'train': the probabilities sum to 0.75; expected a sum of 1",
        ),
    ],
)
def test_a_mistake_in_a_set_is_told_where_it_stands(load: Load, lines: list[str], says: str) -> None:
    found = problems(load, GOOD.strip(), *lines)
    assert len(found) == 1, found
    assert found[0].startswith(says), found


def test_mistakes_of_all_sets_and_of_the_mix_are_told_at_once(load: Load) -> None:
    found = problems(
        load,
        '{ plugin = "toy-data", probability = 2, root = 1 },',
        '{ plugin = "toy-data", probability = 0.5, heigth = 4 },',
    )
    assert [line.split(":")[1] for line in found] == ["14", "14", "15"]


def test_an_empty_mix_is_refused(load: Load) -> None:
    (found,) = problems(load)
    assert found.endswith("'sets' is an array of 0 items; expected at least 1 item")

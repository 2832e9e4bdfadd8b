"""What differs between two documents is told in the words of the recipe."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import WriteRecipe

from engine.recipe.load import load_recipe
from engine.recipe.schema import Stage
from engine.stages.key import changes, in_words, key_of


@pytest.fixture
def stage(toy_recipe: WriteRecipe) -> Stage:
    return load_recipe(toy_recipe()).stages[1]


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ({"stage": {"steps": 3}}, {"stage": {"steps": 4}}, ["stage.B.steps was 3, is 4"]),
        ({"stage": {"ema": None}}, {"stage": {"ema": 0.5}}, ["stage.B.ema was not set, is 0.5"]),
        ({"stage": {"new": 1}}, {"stage": {}}, ["stage.B.new was 1, is not set"]),
        ({"torch": "1", "seed": 0}, {"torch": "2", "seed": 1}, ["seed was 0, is 1", 'torch was "1", is "2"']),
        ({"injection": None}, {"injection": {"plugin": "x"}}, ['injection was not set, is {"plugin": "x"}']),
        ({"digests": {"weights": "1"}}, {"digests": {}}, ["the weights that [model] starts from changed"]),
        ({"digests": {"init": "1"}}, {"digests": {"init": "2"}}, ["the weights that init names changed"]),
        ({"digests": {"parent": "1"}}, {"digests": {"parent": "2"}}, ["it was trained from another A"]),
        ({"code": {"plugin p": ["1", "a"]}}, {"code": {"plugin p": ["1", "b"]}}, ["the code of plugin p changed"]),
        ({"code": {"p": ["1", "a"]}}, {"code": {"p": ["2", "b"]}}, ["the code of p changed, 1 is now 2"]),
        ({"code": {"plugin p": ["1", "a"]}}, {"code": {}}, ["plugin p was needed, and is not"]),
    ],
)
def test_every_kind_of_change_has_its_words(
    stage: Stage, was: dict[str, Any], now: dict[str, Any], told: list[str]
) -> None:
    assert changes(was, now, stage) == told


def test_entries_of_arrays_are_called_as_set_calls_them_and_their_order_counts(stage: Stage) -> None:
    one, other = {"check": "one", "max": 1}, {"check": "other"}

    def told(was: list[Any], now: list[Any]) -> list[str]:
        return changes({"stage": {"gate": was}}, {"stage": {"gate": now}}, stage)

    assert told([one], [{**one, "max": 2}]) == ["stage.B.gate.one.max was 1, is 2"]
    assert told([other, one], [{**one, "max": 2}, other]) == ["stage.B.gate.one.max was 1, is 2"]
    assert told([one], [one, other]) == ['stage.B.gate.other was not set, is {"check": "other"}']
    assert told([one, one], [one, {**one, "max": 2}]) == ["stage.B.gate.one.1.max was 1, is 2"]
    assert told([one, other], [other, one]) == ["the order of its losses, metrics or gates changed"]


@pytest.mark.parametrize("was", [{}, {"stage": 5}, {"code": 5}, {"code": {"plugin p": []}}, {"digests": ["x"]}])
def test_a_document_of_another_shape_differs_and_breaks_nothing(stage: Stage, was: dict[str, Any]) -> None:
    now = {"stage": {"steps": 4}, "code": {"plugin p": ["1", "a"]}, "digests": {"init": "1"}}
    assert changes(was, now, stage)
    assert key_of(was) != key_of(now)


def test_the_first_changes_are_named_and_the_rest_counted() -> None:
    assert in_words(["a", "b", "c"]) == "a; b; c"
    assert in_words(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"


def test_long_values_are_cut(stage: Stage) -> None:
    (told,) = changes({"stage": {"frozen": ["base.**"] * 9}}, {"stage": {"frozen": []}}, stage)
    assert told == 'stage.B.frozen was ["base.**", "base.**", "base.**", "ba..., is []'

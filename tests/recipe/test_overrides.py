"""--set reaches every value, by the names that the recipe gives its tables, and is checked like the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.recipe.overrides import value_of


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("seed=3", lambda recipe: recipe.seed == 3),
        ("train.optimizer.lr=1e-4", lambda recipe: recipe.stages[1].train.optimizer.lr == 1e-4),
        ("stage.B.steps=50", lambda recipe: [stage.steps for stage in recipe.stages] == [10, 50]),
        ("stage.B.schedule.warmup=0.5", lambda recipe: recipe.stages[1].train.schedule.warmup == 0.5),
        ("model.size=M", lambda recipe: recipe.model.options.size == "M"),
        ('model.size="M"', lambda recipe: recipe.model.options.size == "M"),
        ("model.depth = 4", lambda recipe: recipe.model.options.depth == 4),
        ("train.losses.toy-loss.weight=3", lambda recipe: recipe.stages[0].train.losses[0].weight == 3),
        ("stage.B.gate.toy-gate.on_fail=warn", lambda recipe: recipe.stages[1].gates[0].on_fail == "warn"),
        ('stage.B.frozen=["a", "b"]', lambda recipe: recipe.stages[1].frozen == ["a", "b"]),
        ("stage.B.warp={gt=0.25, pred=0.75}", lambda recipe: recipe.stages[1].warp.gt_share(1) == 0.25),
        ("stage.B={steps=8}", lambda recipe: (recipe.stages[1].steps, recipe.stages[1].init) == (8, "A")),
        ("train.optimizer={lr=2.0}", lambda recipe: recipe.train.optimizer.lr == 2.0),
    ],
)
def test_an_override_sets_one_value(load, override: str, read) -> None:
    assert read(load(overrides=(override,)))


def test_the_last_override_of_a_key_wins(load) -> None:
    assert load(overrides=("seed=1", "seed=2")).seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage.B.steps=abc", "'steps' is the text 'abc'; expected a whole number"),
        ("stage.B.stepps=3", "unknown key 'stepps' in [stage.B]. Did you mean 'steps'?"),
        ("model.size=nana", "'size' is the text 'nana'; expected 'nano', 'S' or 'M'. Did you mean 'nano'?"),
        ("stage.Bb.steps=3", "'stage' has no table named 'Bb'. Did you mean 'B'?"),
        ("stage.B.steps.x=3", "'stage.B.steps' is a value, not a table"),
        ("seed", "this is not an override; expected key.path=value"),
        ("=3", "this is not an override; expected key.path=value"),
        ("a b=3", "this is not an override; expected key.path=value"),
        ("modle.size=S", "unknown key 'modle' in the recipe. Did you mean 'model'?"),
        ("extends=x.toml", "unknown key 'extends' in the recipe"),
    ],
)
def test_a_wrong_override_is_reported_as_it_was_typed(load, override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load(overrides=(override,))

    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith(f"--set {override}: {message}")


def test_a_name_that_two_tables_share_is_refused(load) -> None:
    gate = 'check = "toy-gate"\nbelow = 2.0'
    with pytest.raises(InputError, match=r"2 tables of 'stage\.B\.gate' are named 'toy-gate'"):
        load(gate, f"{gate}\n[[stage.gate]]\n{gate}", overrides=("stage.B.gate.toy-gate.below=1",))


def test_a_line_break_cannot_smuggle_in_a_second_key() -> None:
    assert value_of("1\nseed = 2") == "1\nseed = 2"


@given(st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)))
def test_numbers_and_truth_values_come_back_as_they_are_written(value: bool | int | float) -> None:
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    read = value_of(written)
    assert (read, type(read)) == (value, type(value))


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["C"], exclude_characters="\\'")), max_size=4))
def test_arrays_of_texts_come_back_as_they_are_written(items: list[str]) -> None:
    assert value_of("[" + ", ".join(f"'{item}'" for item in items) + "]") == items


@given(
    st.from_regex(r"[A-Za-z][A-Za-z_./*-]*", fullmatch=True).filter(
        lambda word: word not in ("true", "false", "inf", "nan")
    )
)
def test_a_word_needs_no_quotes(word: str) -> None:
    assert value_of(word) == word

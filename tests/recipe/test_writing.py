"""What is written of a recipe is read back as it was, with its comments where people look for them."""

from __future__ import annotations

from typing import Any

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.recipe.writing import toml_of

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
VALUES = st.recursive(
    st.one_of(NAMES, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=4,
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=3)
STAGES = st.lists(st.builds(lambda keys, gates: {**keys, "gate": gates}, TABLES, st.lists(TABLES, max_size=2)))
RECIPES = st.builds(
    lambda keys, data, stages: {**keys, "data": data, "stage": stages},
    TABLES,
    st.dictionaries(st.sampled_from(["train", "val"]), TABLES, max_size=2),
    STAGES.filter(bool),
)


def without_empty(value: Any) -> Any:
    """TOML knows no array of tables without a table, nor a table of which only such are told."""
    if isinstance(value, dict):
        return {key: without_empty(item) for key, item in value.items() if item not in ([], {})}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=60)
@given(RECIPES, st.dictionaries(st.tuples(NAMES), NAMES, max_size=3))
def test_any_recipe_is_read_back(recipe: dict[str, Any], notes: dict[tuple[str], str]) -> None:
    notes = {(key,): f"about {note.encode('unicode_escape').decode()}" for (key,), note in notes.items()}
    assert without_empty(tomli.loads(toml_of(recipe, notes))) == without_empty(recipe)


def test_comments_stand_above_tables_and_beside_keys_where_there_is_room() -> None:
    recipe = {"seed": 0, "model": {"plugin": "toy", "note": "x" * 90}, "stage": [{"gate": [{"check": "one"}]}]}
    notes = {
        (): "the head\nof two lines",
        ("seed",): "beside it",
        ("model",): "the base",
        ("model", "note"): "there is no room beside it",
        ("stage", 0, "gate", 0, "check"): "a check",
    }
    assert toml_of(recipe, notes).splitlines() == [
        "# the head",
        "# of two lines",
        "seed = 0                                # beside it",
        "",
        "# the base",
        "[model]",
        'plugin = "toy"',
        "# there is no room beside it",
        f'note = "{"x" * 90}"',
        "",
        "[[stage]]",
        "",
        "    [[stage.gate]]",
        '    check = "one"                       # a check',
    ]


def test_a_description_of_several_lines_is_one_comment() -> None:
    text = toml_of({"model": {"size": 1}}, {("model", "size"): "Of the base,\n    in layers."})
    assert text.splitlines()[-1].endswith("# Of the base, in layers.")
    assert tomli.loads(text) == {"model": {"size": 1}}

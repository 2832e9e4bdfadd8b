"""Whatever a file says, loading it gives a recipe or an InputError that points somewhere, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError
from engine.recipe import Recipe, load_recipe
from recipe.toy import PLUGIN, RECIPE

VALUES = st.recursive(
    st.sampled_from(["0", "-1", "1.5", "inf", "nan", "true", '""', '"A"', '"gt"', '"toy-loss"', "1979-05-27", "0x10"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(["name", "lr", "gt", "from", "options", "train"]), inner, max_size=2).map(
            lambda table: "{ " + ", ".join(f"{key} = {value}" for key, value in table.items()) + " }"
        ),
    ),
    max_leaves=5,
)
KEYS = sorted({line.split(" = ")[0] for line in RECIPE.splitlines() if " = " in line})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "toy_plugin.py").write_text(PLUGIN)
    return folder / "recipe.toml"


def load_or_refuse(place: Path, text: str, overrides: tuple[str, ...] = ()) -> Recipe | None:
    place.write_text(text, newline="")
    try:
        return load_recipe(place, overrides)
    except InputError as error:
        refused = error
    assert refused.problems
    assert all(problem.where for problem in refused.problems), str(refused)
    return None


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text(place: Path, text: str) -> None:
    load_or_refuse(place, text)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(RECIPE.splitlines()) - 1), VALUES, st.booleans())
def test_any_value_in_any_line(place: Path, index: int, value: str, remove: bool) -> None:
    lines = RECIPE.splitlines()
    key = lines[index].split(" = ")[0]
    lines[index] = (
        "" if remove else f"{key} = {value}" if " = " in lines[index] else f"{lines[index]}\n{key[:1] or 'x'} = 1"
    )
    load_or_refuse(place, "\n".join(lines))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        ["", "train.", "stage.B.", "stage.B.gate.toy-gate.", "model.", "data.", "evaluate.metrics.toy-metric."]
    ),
    st.sampled_from([*KEYS, "stage", "train", "data", "gate", "accept", "extend", "extends", "options", "schedule"]),
    VALUES,
)
def test_any_override(place: Path, table: str, key: str, value: str) -> None:
    load_or_refuse(place, RECIPE, (f"{table}{key}={value}",))


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=20))
def test_any_text_as_an_override(place: Path, override: str) -> None:
    load_or_refuse(place, RECIPE, (override,))


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000, "a = " + "9" * 5000, "[" * 3000, "a = 0x" + "f" * 9000, "\ufeffname = 1"]
)
def test_extremes(place: Path, text: str) -> None:
    assert load_or_refuse(place, text) is None


def test_the_toy_recipe_itself_is_sound(place: Path) -> None:
    assert load_or_refuse(place, RECIPE) is not None

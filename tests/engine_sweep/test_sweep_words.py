"""What `engine sweep` says of a range, a key, a metric or an installation that cannot be; nothing is written then."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe
from engine_sweep.space import Swept, override, split, value_at
from hypothesis import example, given
from hypothesis import strategies as st
from sweep_world import RANGE, folder, recipe
from toy_world import STAGE_A, toml_value

from engine.errors import InputError


@pytest.mark.parametrize(
    ("text", "swept"),
    [
        ("log(1e-5,1e-3)", Swept("key", "log", 1e-5, 1e-3)),
        (" log( 1e-5 , 1e-3 ) ", Swept("key", "log", 1e-5, 1e-3)),
        ("range(0,1)", Swept("key", "uniform", 0.0, 1.0)),
        ("uniform(-1,1)", Swept("key", "uniform", -1.0, 1.0)),
        ("int(1,8)", Swept("key", "int", 1.0, 8.0)),
        ("choice(cosine,one-cycle)", Swept("key", "choice", choices=("cosine", "one-cycle"))),
        ('choice([64, 96],{from="gt"},"a,b")', Swept("key", "choice", choices=("[64, 96]", '{from="gt"}', '"a,b"'))),
    ],
)
def test_the_forms_of_a_range(text: str, swept: Swept) -> None:
    assert split([f"key={text}", "stage.C.steps=5"]) == (["stage.C.steps=5"], [swept])


@pytest.mark.parametrize("text", ["5", "cosine", '"log(1,2)"', "[1, 2]"])
def test_everything_else_is_a_value_for_all_trials(text: str) -> None:
    assert split([f"key={text}"]) == ([f"key={text}"], [])


@pytest.mark.parametrize(
    ("text", "character", "says"),
    [
        ("lgo(1,2)", 5, "there is no range 'lgo'. Did you mean 'log'?"),
        ("beta(1,2)", 5, "there is no range 'beta'; expected one of log, uniform, range, int, choice, or a text in"),
        ("log(1,2", 12, "the range does not end; expected ')', as in log(1e-5, 1e-3)"),
        ("log(1)", 9, "log has 1 value; expected the lowest and the highest"),
        ("log(a,2)", 9, "'a' is not a number"),
        ("log(2, 1)", 12, "1 is not above 2; expected the lowest value first"),
        ("log(0,1)", 9, "0 has no logarithm; expected a number above 0"),
        ("uniform(0,inf)", 15, "inf is no end of a range"),
        ("int(1.5,3)", 9, "'1.5' is not a whole number"),
        ("choice(1)", 12, "there is nothing to choose between"),
        ("choice(1,,2)", 14, "a choice is empty"),
        ("choice(1,1.0)", 14, "1.0 is there twice"),
        ("log(1,2)3", 13, "something stands behind the range"),
    ],
)
def test_a_malformed_range_is_told_with_its_place_in_the_argument(text: str, character: int, says: str) -> None:
    with pytest.raises(InputError) as wrong:
        split([f"key={text}"])
    assert str(wrong.value).startswith(f"--set key={text}, character {character}: {says}")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InputError) as wrong:
        split(["a=log(1)", "b=int(1,2)", "b=int(1,3)", "c=choice(1)"])
    assert [problem.what for problem in wrong.value.problems] == [
        "log has 1 value",
        "'b' has a range already",
        "there is nothing to choose between",
    ]


def test_a_value_of_a_range_is_written_in_full() -> None:
    assert override("lr", 0.1 + 0.2) == "lr=0.30000000000000004"
    assert (override("n", 3), override("name", "cosine")) == ("n=3", "name=cosine")


def test_the_recipes_own_value_is_found_by_name_and_held_to_the_range() -> None:
    resolved = {"stage": [{"name": "A"}, {"name": "C", "gate": [{"check": "threshold", "max": 2}], "steps": 7}]}
    assert value_at(resolved, "stage.C.gate.threshold.max") == 2
    assert value_at(resolved, "stage.D.steps") is None
    steps = Swept("stage.C.steps", "int", 5, 9)
    assert (steps.own(7), steps.own(4), steps.own(7.5), steps.own(None)) == (7, None, None, None)
    assert Swept("k", "uniform", 0, 9).own(7) == 7.0
    assert Swept("k", "choice", choices=("[1, 2]", "x")).own([1, 2]) == "[1, 2]"


SCALARS = st.one_of(st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, 1.0, 0.5]), st.sampled_from("ab"))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("k"), inner))


def told_apart(value: Any) -> Any:
    """The value with its booleans as texts of their own, so that Python finds them equal to nothing but themselves."""
    if isinstance(value, list):
        return [told_apart(each) for each in value]
    if isinstance(value, dict):
        return {key: told_apart(each) for key, each in value.items()}
    return f"the boolean {value}" if isinstance(value, bool) else value


@given(one=VALUES, other=VALUES)
@example(one=True, other=1)
@example(one=[0], other=[False])
@example(one={"k": True}, other={"k": 1.0})
def test_true_and_one_are_two_choices_at_any_depth_and_each_stands_for_itself_in_the_recipe(
    one: Any, other: Any
) -> None:
    argument = f"key=choice({toml_value(one)},{toml_value(other)})"
    if told_apart(one) == told_apart(other):
        with pytest.raises(InputError, match="is there twice"):
            split([argument])
        return
    _, (swept,) = split([argument])
    assert swept.own(one) == toml_value(one)
    assert swept.own(other) == toml_value(other)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "stage.C.optimizer.lrr=log(1e-4,1e-2)"], "unknown key 'lrr'"),
        (["--set", "stage.Q.steps=int(1,2)"], "'stage' has no table named 'Q'"),
        (["--set", "stage.C.optimizer.lr=uniform(-1,1)"], "--set stage.C.optimizer.lr=-1.0: "),
        (["--set", RANGE, "--metric", "eror"], "--metric: no metric 'eror' is measured. Did you mean 'error'?"),
        (["--set", RANGE, "--maximize"], "the recipe says of 'error', its evaluate.best, that the smallest is best"),
        (["--set", "stage.C.steps=5"], "no key has a range, so there is nothing to search"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, words: list[str], says: str
) -> None:
    done = engine("sweep", recipe(toy_recipe, tmp_path), *words)
    assert done.code == 2
    assert says in done.err
    assert not (tmp_path / "runs").exists()


def test_a_range_that_changes_nothing_is_refused(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(stage=[{**STAGE_A, "batch_size": 3}])
    for key in ("train.batch_size", "train.accumulate"):
        done = engine("sweep", path, "--set", f"{key}=int(1,2)", "--trials", 1)
        assert done.code == (2 if key == "train.batch_size" else 0), done.err
        told = "error --set train.batch_size: no stage takes its value from here; expected stage.NAME.batch_size\n"
        assert done.err == (told if done.code else "")
    (run,) = (path for path in folder(tmp_path / "runs").iterdir() if path.is_dir())
    done = engine("sweep", run, "--set", "train.accumulate=int(1,2)")  # a run's recipe has every key in its stages
    assert done.code == 2
    assert "no stage takes its value from here; expected stage.NAME.accumulate" in done.err


def test_a_missing_extra_is_named(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch) -> None:
    real = util.find_spec
    monkeypatch.setattr("engine_sweep.command.find_spec", lambda name: None if name == "optuna" else real(name))
    done = engine("sweep", recipe(toy_recipe, tmp_path), "--set", RANGE)
    assert done.code == 1
    assert 'needs optuna, which is not installed: pip install "experiment-engine[sweep]"' in done.err


TELLING = """
import sys
from engine.cli.main import main
try:
    main()
finally:
    print({"optuna", "torch"} & {*sys.modules})
"""


def test_its_help_imports_no_optuna(process: Command) -> None:
    done = process("sweep", "--help", launcher=("-c", TELLING))
    assert done.code == 0
    assert "engine sweep recipe.toml --set" in done.out
    assert done.out.rstrip().endswith("set()")


def test_a_damaged_study_is_named(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = recipe(toy_recipe, tmp_path)
    sweep = ["sweep", path, "--set", RANGE, "--set", "stage.C.steps=1", "--trials", 1]
    first = engine(*sweep)
    assert first.code == 0
    assert "no swept stage is measured on the way, so no trial is given up by its figures" in first.out
    (folder(tmp_path / "runs") / "study.db").write_bytes(b"no database at all, but long enough to be looked at" * 99)
    done = engine(*sweep)
    assert done.code == 1
    assert "study.db cannot be read or written: " in done.err

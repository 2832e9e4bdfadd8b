from __future__ import annotations

import json
import math

import pytest
from conftest import Command, WriteRecipe
from hypothesis import given
from hypothesis import strategies as st
from toy_world import STAGE_A

from engine.recipe.schema import Schedule
from engine.training.schedule import factor


def schedule(name: str, warmup: float = 0.0, final: float = 0.0) -> Schedule:
    return Schedule.model_validate({"name": name, "warmup": warmup, "final": final})


@pytest.mark.parametrize(
    ("step", "made", "expected"),
    [
        (0, schedule("constant"), 1.0),
        (99, schedule("constant"), 1.0),
        (0, schedule("cosine"), 1.0),
        (50, schedule("cosine"), 0.5),
        (50, schedule("cosine", final=0.2), 0.6),
        (100, schedule("cosine", final=0.2), 0.2),
        (0, schedule("cosine", warmup=0.09), 0.1),
        (4, schedule("constant", warmup=0.09), 0.5),
        (9, schedule("cosine", warmup=0.09), 1.0),
        (79, schedule("step", final=0.1), 1.0),
        (80, schedule("step", final=0.1), 0.1),
        (4, schedule("step", warmup=0.09, final=0.1), 0.5),
        (4, schedule("one-cycle", warmup=0.09), 1 / 25 + (24 / 25) / 2),
        (9, schedule("one-cycle", warmup=0.09), 1.0),
    ],
)
def test_closed_form_points_of_a_hundred_steps(step: int, made: Schedule, expected: float) -> None:
    assert factor(step, 100, made) == pytest.approx(expected)


def test_the_cosine_after_a_warm_up_is_half_way_down_in_the_middle() -> None:
    assert factor(60, 100, schedule("cosine", warmup=0.2)) == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


MADE = st.builds(
    schedule,
    st.sampled_from(["cosine", "constant", "one-cycle", "step"]),
    st.floats(0, 1),
    st.floats(0, 1),
)


@given(MADE, st.integers(1, 500), st.data())
def test_the_rate_stays_above_zero_and_never_passes_its_peak(made: Schedule, steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, steps - 1))
    assert 0 <= factor(step, steps, made) <= 1 + 1e-12


@given(MADE, st.integers(2, 300))
def test_it_rises_once_and_then_never_again(made: Schedule, steps: int) -> None:
    curve = [factor(step, steps, made) for step in range(steps)]
    top = curve.index(max(curve))
    assert curve[:top] == sorted(curve[:top])
    assert all(later <= earlier + 1e-12 for earlier, later in zip(curve[top:], curve[top + 1 :], strict=False))


def test_the_plan_tells_the_optimiser_and_the_rates_of_the_schedule(engine: Command, toy_recipe: WriteRecipe) -> None:
    groups = [{"match": "base.head.**", "lr": 0.01}]
    optimizer = {"lr": 0.1, "weight_decay": 0.5, "betas": [0.8, 0.9], "eps": 1e-6, "groups": groups}
    train = {"optimizer": optimizer, "schedule": {"name": "cosine", "warmup": 0.1}}
    done = engine("plan", toy_recipe(stage=[{**STAGE_A, "steps": 100}], train=train), "--json")
    assert done.code == 0, done.err
    (stage,) = json.loads(done.out)["stages"]
    assert stage["optimizer"] == {"name": "adamw", **optimizer}
    half = 0.1 * (1 + math.cos(math.pi * 40 / 90)) / 2
    last = 0.1 * (1 + math.cos(math.pi * 89 / 90)) / 2
    expected = {"0": 0.1 / 11, "10": 0.1, "50": half, "99": last}
    assert stage["learning_rates"] == pytest.approx(expected)
    assert "betas 0.8 0.9, decay 0.5, eps 1e-06" in engine("plan", toy_recipe(stage=[STAGE_A], train=train)).out

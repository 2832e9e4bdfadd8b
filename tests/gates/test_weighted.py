from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.gates.weighted import best_constant, bound_for_reach, quantile

samples = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-8, 8, width=32))


def weights_for(values: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 2, values.size)


def test_a_quantile_is_the_first_value_that_reaches_the_level() -> None:
    values = np.arange(1.0, 11.0)
    assert quantile(values, np.ones(10), 0.9) == 9.0
    assert quantile(values, np.ones(10), 0.5) == 5.0
    assert quantile(values[::-1], np.ones(10), 1.0) == 10.0
    assert quantile(np.array([1.0, np.inf]), np.array([9.0, 1.0]), 0.9) == 1.0
    assert np.isnan(quantile(np.zeros(0), np.zeros(0), 0.5))


def test_weights_move_a_quantile() -> None:
    assert quantile(np.array([1.0, 2.0]), np.array([1.0, 3.0]), 0.5) == 2.0


@settings(deadline=None, max_examples=60)
@given(samples, st.integers(0, 99), st.floats(0.1, 9))
def test_no_constant_within_the_bound_beats_the_best_one(values: np.ndarray, seed: int, bound: float) -> None:
    weights = weights_for(values, seed)

    def cost(constant: float) -> float:
        return float(np.sum(weights * np.abs(values - constant)))

    best = best_constant(values, weights, bound)
    assert -bound <= best <= bound
    tried = np.concatenate([np.linspace(-bound, bound, 801), np.clip(values, -bound, bound)])
    assert cost(best) <= min(cost(float(c)) for c in tried) + 1e-9


@settings(deadline=None, max_examples=60)
@given(samples, st.integers(0, 99), st.floats(0.05, 1))
def test_the_bound_for_a_share_reaches_just_that_share(values: np.ndarray, seed: int, share: float) -> None:
    weights, sizes = weights_for(values, seed), np.abs(values)
    bound = bound_for_reach(sizes, weights, share)
    reached = float(np.sum(weights * np.minimum(sizes, bound)))
    assert reached == pytest.approx(share * float(np.sum(weights * sizes)), rel=1e-6, abs=1e-6)


def test_without_values_nothing_is_known() -> None:
    nothing = np.zeros(0)
    assert np.isnan(best_constant(nothing, nothing, 1.0))
    assert np.isnan(bound_for_reach(nothing, nothing, 0.5))

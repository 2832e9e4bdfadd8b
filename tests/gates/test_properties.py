"""What must hold for any residuals and any bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.gates.feasibility import Summary, summarise
from engine.gates.residuals import ImageResiduals

seeds = st.integers(0, 10_000)
bounds = st.floats(0.05, 20)


def images_from(seed: int, factor: float = 1.0) -> list[ImageResiduals]:
    """A few images of different sizes and laws: symmetric, shifted, heavy-tailed, and some values exactly zero."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(int(rng.integers(1, 6))):
        size = int(rng.integers(1, 60))
        signed = rng.normal(rng.normal(0, 2), 1, size) * rng.choice([0, 0.3, 1, 8], size)
        values = (signed * factor).astype(np.float32)
        images.append(ImageResiduals(values, np.zeros_like(values), "", size, {}))
    return images


def figures(images: list[ImageResiduals], bound: float) -> Summary:
    return summarise(images, np.ones(len(images)), bound, 0.9 * bound)


@settings(deadline=None, max_examples=80)
@given(seeds, bounds)
def test_the_oracle_is_below_the_constant_and_that_below_the_base(seed: int, bound: float) -> None:
    found = figures(images_from(seed), bound)
    assert found.oracle <= found.constant_error + 1e-9
    assert found.constant_error <= found.error + 1e-9
    assert 0 <= found.structure <= 1
    assert -1e-12 <= found.reach <= 1
    assert 0 <= found.coverage <= 1 - found.outside + 1e-12
    assert abs(found.bias) <= found.error + 1e-9
    assert abs(found.constant) <= bound


@settings(deadline=None, max_examples=60)
@given(seeds, bounds, st.floats(1, 4))
def test_a_larger_bound_never_covers_or_reaches_less(seed: int, bound: float, more: float) -> None:
    images = images_from(seed)
    small, large = figures(images, bound), figures(images, bound * more)
    assert small.coverage <= large.coverage + 1e-12
    assert small.reach <= large.reach + 1e-9
    assert small.oracle >= large.oracle - 1e-9
    assert small.constant_error >= large.constant_error - 1e-9


@settings(deadline=None, max_examples=60)
@given(seeds, bounds, st.sampled_from([0.125, 0.5, 4.0, 64.0]))
def test_the_unit_of_measurement_does_not_matter(seed: int, bound: float, factor: float) -> None:
    one, other = figures(images_from(seed), bound), figures(images_from(seed, factor), bound * factor)
    for share in ("coverage", "outside", "reach", "structure"):
        assert getattr(one, share) == pytest.approx(getattr(other, share), abs=1e-9), share
    for length in ("error", "median", "q90", "oracle", "constant_error", "bias"):
        assert getattr(one, length) * factor == pytest.approx(getattr(other, length), rel=1e-9, abs=1e-12), length


@settings(deadline=None, max_examples=40)
@given(seeds, bounds)
def test_no_constant_on_a_grid_beats_the_reported_one(seed: int, bound: float) -> None:
    images = images_from(seed)
    signed = [image.signed.astype(np.float64) for image in images]
    grid = np.linspace(-bound, bound, 401)
    cost = np.mean([np.abs(values[:, None] - grid).mean(axis=0) for values in signed], axis=0)
    found = figures(images, bound)
    assert found.constant_error <= cost.min() + 1e-9
    assert found.constant_error >= cost.min() - bound / 200


@settings(deadline=None, max_examples=40)
@given(seeds, bounds)
def test_the_sign_of_the_residual_only_turns_the_bias(seed: int, bound: float) -> None:
    one, other = figures(images_from(seed), bound), figures(images_from(seed, -1.0), bound)
    assert one.bias == pytest.approx(-other.bias)
    for same in ("error", "coverage", "oracle", "constant_error", "structure"):
        assert getattr(one, same) == pytest.approx(getattr(other, same), abs=1e-9), same

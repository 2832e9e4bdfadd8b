from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from engine.gates import bootstrap
from engine.gates.bootstrap import ONE_SIDED, TWO_SIDED, bca, scene_mean, scene_quantile
from engine.gates.weighted import quantile


def test_agrees_with_scipy_on_a_skewed_sample() -> None:
    values = np.random.default_rng(3).lognormal(0, 1, 40)
    ours = bca(scene_mean(values, np.arange(40)), 40, TWO_SIDED, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20_000, confidence_level=0.95, rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours[0] == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours[1] == pytest.approx(theirs.high, abs=0.03 * width)
    plain = np.mean(values) - stats.norm.ppf(0.975) * stats.sem(values)
    assert ours[0] > plain, "the interval of a right-skewed mean sits further right than the normal one"


def test_limits_are_the_same_every_time() -> None:
    values = np.random.default_rng(0).normal(size=20)
    statistic = scene_mean(values, np.arange(20))
    assert bca(statistic, 20) == bca(statistic, 20)


def test_a_constant_statistic_is_its_own_limit() -> None:
    assert bca(scene_mean(np.full(30, 0.75), np.arange(30)), 30) == (0.75, 0.75)


def test_many_scenes_are_left_out_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, 40,000 scenes would take 13 GB twice; the limits are the same."""
    values, seen = np.random.default_rng(0).lognormal(size=50), list[int]()
    mean = scene_mean(values, np.arange(50))

    def watched(multiplicities: bootstrap.Floats) -> bootstrap.Floats:
        seen.append(len(multiplicities))
        return mean(multiplicities)

    whole = bca(watched, 50, TWO_SIDED, resamples=40)
    assert max(seen) == 50
    seen.clear()
    monkeypatch.setattr(bootstrap, "ROOM", 50 * 15)
    assert bca(watched, 50, TWO_SIDED, resamples=40) == pytest.approx(whole, rel=1e-12)
    assert seen == [40, 1, 15, 15, 15, 5]


def test_one_scene_says_nothing_about_others() -> None:
    assert np.isnan(bca(scene_mean(np.array([0.2, 0.9]), np.zeros(2, dtype=int)), 1)).all()


def test_limits_stay_within_what_was_seen_when_one_value_differs() -> None:
    values = np.ones(30)
    values[7] = 0.0
    low, high = bca(scene_mean(values, np.arange(30)), 30)
    assert 0.5 < low < values.mean() < high <= 1.0


def test_images_of_one_scene_count_once() -> None:
    rng = np.random.default_rng(5)
    scene_of = np.repeat(np.arange(12), 6)
    values = np.repeat(rng.beta(5, 2, 12), 6) + rng.normal(0, 0.01, 72)
    low, high = bca(scene_mean(values, scene_of), 12)
    naive_low, naive_high = bca(scene_mean(values, np.arange(72)), 72)
    assert high - low > 1.8 * (naive_high - naive_low)


def test_a_scene_weighs_as_much_as_it_has_images() -> None:
    statistic = scene_mean(np.array([0.0, 0.0, 0.0, 1.0]), np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(statistic(np.array([[1.0, 1.0], [1.0, 3.0], [2.0, 0.0]])), [0.25, 0.5, 0.0])


def test_images_without_a_value_are_left_out_of_the_mean() -> None:
    statistic = scene_mean(np.array([np.nan, 2.0, 4.0]), np.array([0, 1, 2]))
    values = statistic(np.array([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0]]))
    assert values[0] == 3.0
    assert np.isnan(values[1])


def test_the_tabulated_quantile_is_that_of_the_mixture() -> None:
    rng = np.random.default_rng(2)
    samples = [np.abs(rng.normal(0, s, n)) for s, n in zip(rng.uniform(0.5, 3, 20), [600, 1500] * 10, strict=True)]
    statistic = scene_quantile(samples, np.arange(20), 0.9)
    values = np.concatenate(samples)
    weights = np.concatenate([np.full(s.size, 1 / s.size) for s in samples])
    exact = quantile(values, weights, 0.9)
    assert statistic(np.ones((1, 20)))[0] == pytest.approx(exact, rel=0.01)
    worst = int(np.argmax([np.quantile(s, 0.9) for s in samples]))
    alone = statistic(np.eye(20)[worst : worst + 1])[0]
    assert alone == pytest.approx(np.quantile(samples[worst], 0.9, method="inverted_cdf"), rel=1e-6)


def test_a_quantile_may_be_infinite() -> None:
    samples = [np.array([1.0, 2.0, np.inf, np.inf]), np.array([1.0, 1.0, 1.0, 2.0]), np.ones(4)]
    low, high = bca(scene_quantile(samples, np.arange(3), 0.9), 3)
    assert low >= 1.0
    assert high == np.inf


def test_the_lower_limit_holds_about_as_often_as_it_says() -> None:
    # Coverage per image as a skewed beta law, the shape that makes percentile intervals too optimistic.
    rng = np.random.default_rng(11)
    truth, repeats = 0.93, 250
    held = 0
    for _ in range(repeats):
        values = rng.beta(9.3, 0.7, 40)
        low, _ = bca(scene_mean(values, np.arange(40)), 40, ONE_SIDED, resamples=600)
        held += low <= truth
    assert 0.85 <= held / repeats <= 0.99

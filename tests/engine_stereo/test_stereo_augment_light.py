"""Colour, noise and erasing change what they should and leave the rest as it is."""

import numpy as np
import pytest
from engine_stereo.data.augment_light import coloured, erased, exposed
from engine_stereo.data.augment_options import Colour, Erase
from engine_stereo.sensor import display, light
from hypothesis import given, settings
from hypothesis import strategies as st
from stereo_world import pair

STRONG = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "gamma": (0.7, 1.4)}
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709
SEEDS = st.integers(0, 1000)


def flat(value=0.4, q=0.3, u=-0.2, side=120):
    """Both views of one colour and one polarisation."""
    qu = np.stack([np.full((side, side), q), np.full((side, side), u)]).astype(np.float32)
    picture = display(np.full((3, side, side), value, np.float32))
    return {"left": picture, "right": picture, "polarization_left": qu, "polarization_right": qu}


def changed(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if not np.array_equal(before[name], after[name])}


@settings(max_examples=30)
@given(seed=SEEDS)
def test_colours_that_are_equal_in_both_views_stay_equal_and_polarisation_as_it_is(seed):
    sample = pair(seed) | {"right": pair(seed)["left"]}
    seen = coloured(sample, Colour(**STRONG), np.random.default_rng(seed))
    assert changed(sample, seen) == {"left", "right"}
    assert np.array_equal(seen["left"], seen["right"])
    assert seen["left"].dtype == np.float32
    assert 0 <= seen["left"].min() <= seen["left"].max() <= 255


def test_views_look_different_as_often_as_asked():
    sample = pair() | {"right": pair()["left"]}
    colour = Colour(**STRONG, asymmetric=0.25)
    seen = [coloured(sample, colour, np.random.default_rng(seed)) for seed in range(400)]
    share = np.mean([not np.array_equal(each["left"], each["right"]) for each in seen])
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)


def test_colour_of_no_strength_changes_nothing_that_can_be_seen():
    sample = pair()
    seen = coloured(sample, Colour(asymmetric=1.0), np.random.default_rng(0))
    for side in ("left", "right"):
        np.testing.assert_allclose(seen[side], sample[side], atol=1e-3)


@pytest.mark.parametrize("strength", [{"hue": 0.5}, {"saturation": 1.0}, {"gamma": (0.5, 2.0)}])
def test_grey_stays_grey(strength):
    sample = pair()
    sample["left"][:] = sample["left"][:1]
    seen = coloured(sample, Colour(**strength), np.random.default_rng(3))["left"]
    assert np.ptp(seen, axis=0).max() < 1e-3


def test_a_third_of_the_colour_circle_takes_red_to_green():
    sample = pair()
    sample["left"] = np.zeros((3, 2, 2), np.float32)
    sample["left"][0] = 200
    found = {
        tuple(np.rint(coloured(sample, Colour(hue=0.5), _Fixed(turn))["left"][:, 0, 0]).astype(int))
        for turn in (2 / 3, -2 / 3)
    }
    assert found == {(0, 200, 0), (0, 0, 200)}


class _Fixed:
    """A generator whose draws between -1 and 1 are all `value`, and whose others are in the middle."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high):
        return self.value if low == -1 else (low + high) / 2

    def random(self):
        return 0.5


def test_one_view_alone_is_coloured_too():
    alone = {"left": pair()["left"]}
    assert coloured(alone, Colour(**STRONG), np.random.default_rng(0)).keys() == {"left"}


def test_noise_has_the_asked_size_in_the_light_and_in_the_polarisation():
    sample, sigma = flat(), 0.02
    seen = exposed(sample, sigma, 0.0, np.random.default_rng(0))
    assert changed(sample, seen) == set(sample)
    # The picture is the mean of four intensities; (q, u) is half a difference of two, over the luminance.
    assert light(seen["left"]).std() == pytest.approx(sigma / 2, rel=0.03)
    spread = sigma * np.sqrt(0.5) * np.sqrt((LUMINANCE**2).sum()) / 0.4
    for side in ("left", "right"):
        assert seen[f"polarization_{side}"].std((1, 2)) == pytest.approx([spread, spread], rel=0.05)
        assert seen[f"polarization_{side}"].mean((1, 2)) == pytest.approx([0.3, -0.2], abs=0.003)
    assert not np.array_equal(seen["left"], seen["right"])


def test_noise_of_a_picture_without_polarisation_is_that_of_one_intensity():
    sample = {name: value for name, value in flat().items() if name in ("left", "right")}
    seen = exposed(sample, 0.02, 0.0, np.random.default_rng(0))
    assert light(seen["left"]).std() == pytest.approx(0.02, rel=0.03)
    assert light(seen["left"]).mean() == pytest.approx(0.4, abs=0.001)


def test_shot_noise_grows_with_the_root_of_the_light():
    spreads = []
    for value in (0.1, 0.4):
        sample = {"left": flat(value)["left"]}
        spreads.append(light(exposed(sample, 0.0, 0.05, np.random.default_rng(1))["left"]).std())
    assert spreads == pytest.approx([0.05 * np.sqrt(0.1), 0.05 * np.sqrt(0.4)], rel=0.05)


def test_noise_tells_nothing_where_nothing_was_told():
    sample = flat()
    sample["polarization_left"] = sample["polarization_left"].copy()
    sample["polarization_left"][:, :60] = 0
    seen = exposed(sample, 0.02, 0.0, np.random.default_rng(0))["polarization_left"]
    assert (seen[:, :60] == 0).all()
    assert (seen[:, 60:] != 0).all()


def test_impossible_polarisation_makes_no_nan():
    sample = flat(q=1.2, u=-1.2)
    assert all(np.isfinite(value).all() for value in exposed(sample, 0.0, 0.01, np.random.default_rng(0)).values())


def test_a_sensor_without_noise_changes_no_bit():
    sample = pair()
    assert changed(sample, exposed(sample, 0.0, 0.0, np.random.default_rng(0))) == set()


@given(st.floats(0, 255))
def test_a_picture_is_the_display_of_its_light(value):
    picture = np.full((3, 1, 1), value, np.float32)
    np.testing.assert_allclose(display(light(picture)), picture, atol=0.1)


@settings(max_examples=40)
@given(seed=SEEDS, count=st.integers(1, 3), least=st.integers(1, 6), more=st.integers(0, 20))
def test_erasing_leaves_rectangles_of_the_mean_colour_and_no_polarisation(seed, count, least, more):
    sample = pair(seed)
    before = sample["right"].copy()
    seen = erased(sample, Erase(count=count, size=(least, least + more)), np.random.default_rng(seed))
    assert np.array_equal(sample["right"], before)  # the example itself is not written on
    assert changed(sample, seen) == {"right", "polarization_right"}
    gone = (seen["right"] != before).any(0)
    assert 1 <= gone.sum() <= count * (least + more) ** 2
    np.testing.assert_allclose(
        seen["right"][:, gone], before.mean((1, 2))[:, None] * np.ones((1, gone.sum())), rtol=1e-6
    )
    assert np.array_equal(gone, (seen["polarization_right"] == 0).all(0))


def test_there_is_nothing_to_erase_in_one_view_alone():
    alone = {"left": pair()["left"]}
    assert erased(alone, Erase(), np.random.default_rng(0)) is alone

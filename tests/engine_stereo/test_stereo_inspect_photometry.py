"""No right disparity is accused, whatever the texture; every mistake that a picture can show is."""

from __future__ import annotations

import numpy as np
import pytest
from engine_stereo.data.inspect_photometry import AS_STORED, Hypothesis, compare
from hypothesis import given, settings
from hypothesis import strategies as st
from stereo_pairs import ramp, seen_from_left, texture


def random_pair(seed, disparity, grain, noise):
    """Views (3, H, W) of a texture of its own grain, with sensor noise of so many grey levels in both."""
    rng = np.random.default_rng(seed)
    right = 20 + 215 * texture(rng, *disparity.shape, grain)
    left, valid = seen_from_left(right, disparity)
    views = [np.stack([view + rng.normal(0, noise, view.shape)] * 3).clip(0, 255) for view in (left, right)]
    return [view.astype(np.float32) for view in views], disparity.astype(np.float32), valid


scenes = st.tuples(
    st.integers(0, 2**32 - 1), st.floats(1, 20), st.floats(0, 1), st.integers(1, 12), st.floats(0, 20), st.booleans()
)


def scene(drawn):
    seed, near, slant, grain, noise, stepped = drawn
    disparity = ramp(64, 128, near * (1 - 0.9 * slant), near)
    return random_pair(seed, disparity.round() if stepped else disparity, grain, noise)


@settings(max_examples=150)
@given(scenes)
def test_right_truth_of_any_texture_is_never_accused(drawn):
    (left, right), disparity, valid = scene(drawn)
    assert compare(left, right, disparity, valid, doffs=7.0).verdict in ("fits", "undetermined")


@settings(max_examples=60)
@given(scenes, st.sampled_from([2.0, 4.0, 0.5, 1 / 256, -1.0]))
def test_a_repair_is_right_where_one_is_named(drawn, repair):
    (left, right), disparity, valid = scene(drawn)
    found = compare(left, right, (disparity / repair).astype(np.float32), valid)
    assert found.verdict != "fits"
    if found.verdict == "wrong" and abs(found.best.scale) != abs(repair):
        # another repair may pass only where it moves the pixels to about the same places
        moved = np.abs(found.best(disparity / repair) - disparity)[valid]
        assert np.median(moved) < 1.5


@pytest.mark.parametrize("noise", [0, 10])
@pytest.mark.parametrize("repair", [2.0, 0.5, 4.0, 0.25, 1 / 256, 256.0, 100.0, -1.0, 0.77, 1.3])
def test_clear_mistakes_are_found(noise, repair):
    (left, right), disparity, valid = random_pair(1, ramp(64, 160, 6, 16), 3, noise)
    found = compare(left, right, disparity / np.float32(repair), valid)
    assert found.verdict == "wrong"
    assert found.best.scale == pytest.approx(repair, rel=0.02)
    assert not found.best.exchanged


def test_exchanged_views_and_the_other_views_disparity():
    (left, right), disparity, valid = random_pair(2, ramp(64, 160, 4, 20), 3, 2)
    assert compare(right, left, disparity, valid).best == Hypothesis(exchanged=True)
    mirrored = [each[..., ::-1] for each in (right, left, disparity, valid)]
    found = compare(*mirrored)
    assert (found.verdict, found.best) == ("wrong", Hypothesis(-1, exchanged=True))


@pytest.mark.parametrize(("added", "says"), [(7.0, -7.0), (-7.0, 7.0)])
def test_an_offset_is_told_from_a_scale(added, says):
    (left, right), disparity, valid = random_pair(3, ramp(64, 160, 9, 20), 3, 2)
    found = compare(left, right, disparity + np.float32(added), valid, doffs=7.0)
    assert (found.verdict, found.best) == ("wrong", Hypothesis(offset=says))


def test_cameras_of_another_exposure_are_no_mistake():
    (left, right), disparity, valid = random_pair(4, ramp(64, 160, 4, 16), 3, 2)
    found = compare(left, right * np.float32(0.6) + 30, disparity, valid)
    assert found.verdict == "fits"
    assert found.cost[AS_STORED] < 0.2 * found.unrelated


def test_other_pictures_are_told_from_a_mistake():
    (left, _), disparity, valid = random_pair(5, ramp(64, 160, 4, 16), 3, 2)
    (_, right), _, _ = random_pair(6, ramp(64, 160, 4, 16), 3, 2)
    assert compare(left, right, disparity, valid).verdict == "unrelated"


def test_no_texture_no_disparity_and_no_pixels_tell_nothing():
    (left, right), disparity, valid = random_pair(7, ramp(64, 160, 4, 16), 3, 0)
    assert compare(left * 0 + 90, right * 0 + 90, disparity, valid).verdict == "undetermined"
    assert compare(left, left, disparity * 0, valid).verdict == "undetermined"
    assert compare(left, right, disparity, valid & False).verdict == "undetermined"

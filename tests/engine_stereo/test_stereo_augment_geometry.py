"""What moves in an example moves together, and polarisation turns as light does."""

import numpy as np
import pytest
import torch
from engine_polarization import stokes
from engine_stereo.data.augment_geometry import displaced, mirrored, twins_missing, upside_down, without_right_truth
from engine_stereo.data.reading import cropped, scaled
from engine_stereo.sensor import intensities
from hypothesis import given, settings
from hypothesis import strategies as st
from stereo_world import pair, warped

SEEDS = st.integers(0, 20)
FLIPS = {"horizontal": mirrored, "vertical": upside_down}


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.array_equal(value, other[name]), name
        assert np.asarray(value).dtype == np.asarray(other[name]).dtype, name


def assert_the_right_view_warps_to_the_left(sample, tolerance=0.0):
    for left, right in (("left", "right"), ("polarization_left", "polarization_right")):
        found, both = warped(sample, right)
        assert both.sum() > 20
        assert np.abs(found - sample[left])[:, both].max() <= tolerance, left


@pytest.mark.parametrize("flip", FLIPS.values(), ids=FLIPS)
@given(seed=SEEDS)
def test_a_flip_keeps_the_geometry_and_twice_it_gives_back_the_example(flip, seed):
    sample = pair(seed)
    assert_the_right_view_warps_to_the_left(sample)
    once = flip(sample)
    assert_the_right_view_warps_to_the_left(once)
    assert not np.array_equal(once["left"], sample["left"])
    same(flip(once), sample)


def test_mirroring_makes_the_right_view_the_left_one():
    sample = pair()
    seen = mirrored(sample)
    assert np.array_equal(seen["left"], sample["right"][:, :, ::-1])
    assert np.array_equal(seen["disparity"], sample["disparity_right"][:, :, ::-1])
    assert np.array_equal(seen["occluded"], sample["occluded_right"][:, :, ::-1])
    assert (seen["doffs"], seen["focal"], seen["id"]) == (3, 100, "one")


def test_depth_is_the_same_in_the_mirror():
    """Z = focal * baseline / (disparity + doffs), of which mirroring changes nothing."""
    sample = pair()
    depths = [
        each["focal"] * each["baseline"] / (each["disparity"] + each["doffs"]) for each in (sample, mirrored(sample))
    ]
    assert set(depths[0].ravel()) == set(depths[1].ravel())


@pytest.mark.parametrize("axis", FLIPS)
@given(seed=SEEDS)
def test_a_mirrored_polariser_at_45_degrees_is_one_at_135(axis, seed):
    """A mirror shows the camera a polariser at -angle: what 45 let through is what 135 lets through."""
    sample = without_right_truth(pair(seed))
    sample["right"], sample["polarization_right"] = sample["left"], sample["polarization_left"]
    seen = FLIPS[axis](sample)
    i0, i45, i90, i135 = intensities(sample["left"], sample["polarization_left"])
    mirror = np.flip(np.stack([i0, i135, i90, i45]), {"horizontal": 3, "vertical": 2}[axis])
    np.testing.assert_allclose(intensities(seen["left"], seen["polarization_left"]), mirror, rtol=1e-6)


@pytest.mark.parametrize("axis", FLIPS)
def test_flips_do_to_polarisation_what_the_mathematics_of_stokes_vectors_say(axis):
    sample = pair()
    seen = FLIPS[axis](sample)
    before = sample["polarization_right" if axis == "horizontal" else "polarization_left"]
    assert np.array_equal(seen["polarization_left"], stokes.flip(torch.from_numpy(before), axis).numpy())
    dolp = np.hypot(*before)
    assert sorted(np.hypot(*seen["polarization_left"]).ravel()) == sorted(dolp.ravel())


def test_what_the_mirrored_pair_would_miss_is_told():
    sample = pair()
    assert twins_missing(sample) == []
    del sample["disparity_right"], sample["occluded_right"]
    assert twins_missing(sample) == ["disparity_right", "occluded_right"]
    assert twins_missing({"left": sample["left"]}) == []


def test_a_single_view_is_mirrored_as_it_is():
    alone = {name: value for name, value in pair().items() if name in ("left", "polarization_left", "id")}
    assert np.array_equal(mirrored(alone)["left"], alone["left"][:, :, ::-1])


@settings(max_examples=20)
@given(seed=SEEDS, height=st.integers(6, 16), width=st.integers(24, 40))
def test_a_crop_keeps_the_geometry(seed, height, width):
    assert_the_right_view_warps_to_the_left(cropped(pair(seed), (height, width), np.random.default_rng(seed)))


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.25, 1.5, 2.0])
def test_scaling_keeps_the_geometry_and_scales_what_is_in_px(factor):
    sample = pair(back=4, front=8)
    for name in ("left", "right", "polarization_left", "polarization_right"):  # one layer: edges have their own blur
        sample[name] = np.roll(
            sample["left" if "pol" not in name else "polarization_left"], -4 if "right" in name else 0, 2
        )
    sample["disparity"] = np.full_like(sample["disparity"], 4)
    sample["occluded"] = np.zeros_like(sample["valid"])
    larger = scaled(sample, factor)
    assert (larger["disparity"] == 4 * factor).all()
    assert (larger["focal"], larger["doffs"], larger["baseline"]) == (100 * factor, 3 * factor, np.float32(0.1))
    found, both = warped(larger)
    edge = round(6 * factor)
    both[:, : round(4 * factor) + edge] = both[:, -edge:] = False
    assert both.any()
    assert np.abs(found - larger["left"])[:, both].max() < 0.01


@settings(max_examples=30)
@given(seed=SEEDS, share=st.floats(0.02, 0.5), factor=st.floats(0.4, 2.5))
def test_sparse_truth_is_never_averaged_with_what_is_not_known(seed, share, factor):
    sample = pair(seed)
    random = np.random.default_rng(seed)
    known = random.random((1, 16, 40)) < share
    sample["valid"], sample["disparity"] = (
        known,
        np.where(known, random.uniform(1, 30, known.shape), 0).astype(np.float32),
    )
    changed = scaled(sample, factor)
    ratio = np.float32(changed["left"].shape[2] / 40)
    told = np.unique(sample["disparity"][known] * ratio)
    assert np.isin(changed["disparity"][changed["valid"]], told).all()
    assert (changed["disparity"][~changed["valid"]] == 0).all()


@given(seed=SEEDS)
def test_scaling_by_two_and_back_gives_the_truth_back(seed):
    sample = pair(seed)
    again = scaled(scaled(sample, 2.0), 0.5)
    for name in ("disparity", "disparity_right", "valid", "occluded", "focal", "doffs"):
        assert np.array_equal(again[name], sample[name]), name


def test_a_smooth_picture_survives_scaling_by_two_and_back():
    sample = pair()
    rows, columns = np.mgrid[:16, :40]
    sample["left"] = np.stack([4 * rows + columns, 3 * columns, 100 + 50 * np.sin(columns / 6)]).astype(np.float32)
    again = scaled(scaled(sample, 2.0), 0.5)["left"]
    assert np.abs(again - sample["left"])[:, 3:-3, 3:-3].max() < 0.5


@settings(max_examples=30)
@given(first=st.floats(-2, 2), last=st.floats(-2, 2))
def test_a_displaced_view_moves_by_the_asked_rows_and_by_no_column(first, last):
    sample = pair()
    rows, columns = np.mgrid[:16, :40].astype(np.float32)
    sample["right"] = np.stack([rows, columns, np.full_like(rows, 7)])
    moved = displaced(sample, first, last)["right"]
    wanted = np.clip(rows + np.linspace(first, last, 40), 0, 15)
    np.testing.assert_allclose(moved[0], wanted, atol=1e-4)
    np.testing.assert_allclose(moved[1:], sample["right"][1:], atol=1e-4)


def test_displacing_changes_the_right_view_alone_and_not_at_all_by_nothing():
    sample = pair()
    moved = displaced(sample, 1.0, -0.5)
    assert {name for name in sample if not np.array_equal(moved[name], sample[name])} == {"right", "polarization_right"}
    same(displaced(sample, 0.0, 0.0), sample)


def test_a_camera_that_is_turned_turns_the_polarisation_that_it_sees():
    """A horizontal line that is polarised along itself still is when it rises to the right."""
    sample = pair(height=33, width=81)
    sample["right"] = np.zeros((3, 33, 81), np.float32)
    sample["right"][:, 16] = 1
    sample["polarization_right"] = np.stack([np.ones((33, 81)), np.zeros((33, 81))]).astype(np.float32)
    seen = displaced(sample, -4.0, 4.0)
    line = (seen["right"][0] * np.arange(33)[:, None]).sum(0) / seen["right"][0].sum(0)
    rise = np.arctan2(line[0] - line[-1], 80)  # rows count downwards
    assert rise == pytest.approx(np.arctan2(8, 80), rel=1e-3)
    angle = np.arctan2(*seen["polarization_right"][::-1, 16, 40]) / 2
    assert angle == pytest.approx(rise, rel=1e-3)
    turned = stokes.rotate(torch.from_numpy(sample["polarization_right"]), float(rise)).numpy()
    np.testing.assert_allclose(seen["polarization_right"], turned, atol=1e-6)

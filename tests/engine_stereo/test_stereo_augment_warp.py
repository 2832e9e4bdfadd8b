"""What each random change does to the right view at x - d, and that the truth stays the left view's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import stereo_pairs
from engine_stereo.data.augment import augmented
from engine_stereo.data.augment_light import erased
from engine_stereo.data.augment_optics import blurred, compressed
from engine_stereo.data.augment_options import Augment, Blur, Erase, Jpeg
from pydantic import ValidationError
from stereo_world import pair

Sample = dict[str, Any]

COLOUR = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "gamma": [0.8, 1.2]}


def slanted(seed: int = 0) -> Sample:
    """A pair whose disparity grows smoothly from 4 to 14 px."""
    made = stereo_pairs.pair(seed)
    planes = {"disparity", "valid"}
    sample = {
        name: (value[None] if name in planes else value).astype(bool if name == "valid" else np.float32)
        for name, value in made.items()
    }
    return sample | {"focal": np.float32(100), "id": "one", "scene": "room"}


def off(sample: Sample, more: float = 0.0) -> float:
    """Mean difference of the left view and the right one at x - d - more, grey levels, over valid pixels."""
    seen, inside = stereo_pairs.seen_from_left(sample["right"], sample["disparity"][0] + more)
    there = inside & sample["valid"][0]
    assert there.mean() > 0.3
    return float(np.abs(seen - sample["left"]).mean(0)[there].mean())


def change(seed: int, **options: Any) -> Sample:
    return augmented(slanted(seed), Augment.model_validate(options), np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"scale": [0.7, 1.5]}, 6.0),
        ({"stretch": [0.75, 1.3]}, 6.0),
        ({"scale": [0.7, 1.5], "stretch": [0.75, 1.3]}, 7.0),
        ({"colour": COLOUR}, 0.6),
        ({"blur": {"probability": 1.0, "sigma": [0.5, 1.5]}}, 2.5),
        ({"jpeg": {"probability": 1.0, "quality": [60, 95]}}, 7.0),
        ({"noise": {"read": [0.01, 0.01]}}, 9.0),
    ],
)
def test_the_right_view_at_x_minus_disparity_is_the_left_view_within_the_noise(
    options: dict[str, Any], most: float
) -> None:
    assert off(slanted()) < 0.01
    for seed in range(5):
        made = change(seed, **options)
        right = off(made)
        assert right < most
        # what a shift of 2 px makes of it
        assert min(off(made, 2.0), off(made, -2.0)) > 3 * right, (seed, right)


def test_a_stretched_disparity_grows_with_the_width_alone() -> None:
    for seed in range(8):
        made = change(seed, stretch=[0.6, 1.6])
        height, width = made["left"].shape[1:]
        wide, high = width / 160, height / 96
        assert 0.59 < wide < 1.61
        assert 0.59 < high < 1.61
        assert made["focal"] == pytest.approx(100 * wide, rel=1e-5)
        assert made["disparity"][made["valid"]].max() / 14 == pytest.approx(wide, rel=0.03)
    shapes = {change(seed, stretch=[0.6, 1.6])["left"].shape for seed in range(8)}
    assert len({height / width for _, height, width in shapes}) == len(shapes) > 1


def test_a_stretch_is_raised_as_far_as_the_crop_needs() -> None:
    options = Augment(stretch=(0.5, 1.2))
    made = augmented(slanted(), options, np.random.default_rng(0), (110, 190))
    assert made["left"].shape == (3, 110, 190)


def test_colours_of_its_own_make_a_view_unlike_and_move_nothing() -> None:
    before = slanted(2)
    made = change(2, colour=COLOUR | {"asymmetric": 1.0})
    assert off(made) > 4  # meant to: cameras differ
    for name in ("disparity", "valid", "polarization_left", "polarization_right"):
        assert np.array_equal(made[name], before[name])
    seen, inside = stereo_pairs.seen_from_left(made["right"], made["disparity"][0])
    alike = np.corrcoef(seen[0][inside], made["left"][0][inside])[0, 1]
    assert alike > 0.97  # what is bright there is bright here


def test_a_rectification_error_moves_rows_by_what_was_drawn_and_no_column() -> None:
    assert off(change(1, y_jitter=4.0)) > 5  # meant to: the rows no longer agree
    for seed in range(4):
        made = change(seed, y_jitter=4.0)
        assert np.array_equal(made["disparity"], slanted(seed)["disparity"])
        first, last = np.random.default_rng(seed).uniform(-4.0, 4.0, 2)
        rows = np.arange(96)[:, None] - np.linspace(first, last, 160)  # back to where they were
        low = np.floor(rows)
        share = rows - low
        upper, lower = (np.clip(low + step, 0, 95).astype(int) for step in (0, 1))
        columns = np.arange(160)
        back = made["right"][:, upper, columns] * (1 - share) + made["right"][:, lower, columns] * share
        apart, moved = (np.abs(view - slanted(seed)["right"])[:, 5:-5].mean() for view in (back, made["right"]))
        assert apart < 0.5 * moved  # interpolated twice, which blurs
        assert moved > 5


def test_what_hides_the_right_view_leaves_everything_else_a_match_and_all_of_the_truth() -> None:
    before = slanted(3)
    made = erased(before, Erase(probability=1.0, count=1, size=(20, 30)), np.random.default_rng(0))
    hidden = (made["right"] != before["right"]).any(0)
    assert 200 < hidden.sum() <= 30 * 30
    assert all(np.array_equal(made[name], before[name]) for name in ("left", "disparity", "valid"))
    reached, _ = stereo_pairs.seen_from_left(hidden[None].astype(float), made["disparity"][0])
    seen, inside = stereo_pairs.seen_from_left(made["right"], made["disparity"][0])
    apart = np.abs(seen - made["left"]).mean(0)
    assert apart[inside & (reached[0] == 0)].max() < 0.1
    assert apart[inside & (reached[0] == 1)].mean() > 20


def test_a_blur_takes_light_and_not_its_stored_values_and_edges_stay_where_they_were() -> None:
    sample = pair()
    sample["left"] = np.zeros((3, 16, 40), np.float32)
    sample["left"][:, :, 20:] = 255
    made = blurred(sample, Blur(sigma=(1.0, 1.0)), np.random.default_rng(0))["left"][0, 8]
    assert made[19] + made[20] > 1.2 * 255  # half of the light is stored as 188
    assert (np.diff(made) >= -1e-3).all()
    assert made[19] < 188 < made[20]
    assert made[:15].max() < 3
    assert made[26:].min() > 252


def test_the_polarisation_of_blurred_light_is_its_own_mean_and_what_was_untold_stays_so() -> None:
    sample = pair()
    everywhere = np.array([0.3, -0.2], np.float32)[:, None, None]
    sample["polarization_left"] = np.broadcast_to(everywhere, (2, 16, 40)).copy()
    sample["polarization_left"][:, 4:8, 4:8] = 0
    made = blurred(sample, Blur(sigma=(1.5, 1.5)), np.random.default_rng(0))["polarization_left"]
    told = sample["polarization_left"].any(0)
    np.testing.assert_allclose(made[:, told], np.broadcast_to(everywhere[:, 0], made[:, told].shape), atol=1e-4)
    assert not made[:, ~told].any()


def test_views_share_a_blur_unless_it_is_asymmetric() -> None:
    sample = slanted()
    sample["right"] = sample["left"]
    for share in (0.0, 1.0):
        made = blurred(sample, Blur(sigma=(0.5, 2.0), asymmetric=share), np.random.default_rng(0))
        assert np.array_equal(made["left"], made["right"]) == (share == 0)


def test_a_worse_quality_loses_more_and_polarisation_stays() -> None:
    sample = slanted()
    lost = {}
    for quality in (20, 60, 95):
        made = compressed(sample, Jpeg(quality=(quality, quality)), np.random.default_rng(0))
        lost[quality] = np.abs(made["left"] - sample["left"]).mean()
        assert made["left"].dtype == np.float32
        assert np.array_equal(made["polarization_left"], sample["polarization_left"])
    assert 0 < lost[95] < lost[60] < lost[20] < 20
    with pytest.raises(ValidationError, match="a quality of 101; expected 1 to 100"):
        Jpeg(quality=(10, 101))

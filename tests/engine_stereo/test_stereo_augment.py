"""Augmented examples: the same for the same random numbers, and true whatever was done to them."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli
from engine_stereo.data.augment import augmented, cut_after_base
from engine_stereo.data.augment_options import Augment, Colour, Erase, Noise
from engine_stereo.data.augmented import Augmented
from engine_stereo.data.encodings import PRESETS, write_disparity
from engine_stereo.data.frames import Frame, Frames
from engine_stereo.data.images import write_image
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.reading import cropped
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from stereo_world import pair, warped

from engine.errors import InputError
from engine.recipe import load_recipe

ALL = {
    "flip_horizontal": 0.5,
    "flip_vertical": 0.5,
    "scale": [0.8, 1.4],
    "y_jitter": 1.5,
    "colour": {"brightness": 0.3, "hue": 0.1, "asymmetric": 0.2},
    "noise": {"read": [0.0, 0.01], "shot": [0.0, 0.01]},
    "erase": {"probability": 0.5, "size": [2, 6]},
}
SEEDS = st.integers(0, 10_000)


def options(**given):
    return Augment.model_validate(given)


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(value, other[name]) for name, value in one.items())


def test_with_everything_off_no_bit_changes_but_the_right_truth_is_left_out():
    sample = pair()
    seen = augmented(sample, Augment(), np.random.default_rng(0))
    kept = {name: value for name, value in sample.items() if not name.endswith("_right") or "polar" in name}
    assert same(seen, kept)


@settings(max_examples=30)
@given(seed=SEEDS)
def test_the_same_random_numbers_give_the_same_example_and_others_another(seed):
    one, again, other = (
        augmented(pair(), options(**ALL), np.random.default_rng(s), (10, 30)) for s in (seed, seed, -1 - seed & 0xFFFF)
    )
    assert same(one, again)
    assert not same(one, other)


@settings(max_examples=60)
@given(seed=SEEDS, crop=st.none() | st.tuples(st.integers(8, 16), st.integers(30, 40)))
def test_the_right_view_at_x_minus_disparity_is_the_left_view_after_any_flips_and_crop(seed, crop):
    seen = augmented(pair(seed), options(flip_horizontal=0.5, flip_vertical=0.5), np.random.default_rng(seed), crop)
    for left, right in (("left", "right"), ("polarization_left", "polarization_right")):
        found, both = warped(seen, right)
        assert both.sum() > 20
        assert np.array_equal(found[:, both], seen[left][:, both])


@settings(max_examples=40)
@given(seed=SEEDS)
def test_every_field_has_the_size_of_the_crop_and_the_type_that_it_had(seed):
    sample = pair()
    seen = augmented(sample, options(**ALL), np.random.default_rng(seed), (12, 32))
    for name, value in seen.items():
        if getattr(value, "ndim", 0) == 3:
            assert value.shape == (len(sample[name]), 12, 32), name
            assert value.dtype == sample[name].dtype, name
            assert np.isfinite(value).all()
            assert value.flags.c_contiguous
    full = seen["disparity"] * 100 / seen["focal"]
    np.testing.assert_allclose(full, np.where(full > 6, 8, 4), rtol=1e-4)


@given(seed=SEEDS)
def test_a_scale_that_is_too_small_for_the_crop_is_raised_and_none_goes_beyond_its_bounds(seed):
    seen = augmented(pair(), options(scale=[0.5, 1.5]), np.random.default_rng(seed), (16, 40))
    assert seen["left"].shape == (3, 16, 40)
    assert 0.999 <= seen["focal"] / 100 <= 1.51
    with pytest.raises(InputError, match="does not fit"):
        augmented(pair(), options(scale=[0.5, 1.5]), np.random.default_rng(seed), (30, 40))


def test_factors_are_spread_evenly_over_twice_and_half():
    factors = [
        augmented(pair(), options(scale=[0.5, 2.0]), np.random.default_rng(s))["focal"] / 100 for s in range(300)
    ]
    assert np.mean(np.array(factors) < 1) == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 300))


def test_mirroring_without_the_right_views_truth_is_refused_whether_drawn_or_not():
    sample = pair()
    del sample["disparity_right"], sample["valid_right"]
    for seed in range(4):
        with pytest.raises(InputError, match=r"flip_horizontal .* one has no disparity_right, valid_right"):
            augmented(sample, options(flip_horizontal=0.1), np.random.default_rng(seed))


@pytest.mark.parametrize(
    "wrong",
    [{"scale": [1.2, 0.8]}, {"scale": [0, 1]}, {"flip_vertical": 1.1}, {"erase": {"size": [9, 3]}}, {"crop": [1, 1]}],
)
def test_options_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        options(**wrong)


@pytest.fixture
def frame(tmp_path):
    """The made-up pair as files, with the truth of both views."""
    sample = pair()
    for side in ("left", "right"):
        write_image(tmp_path / f"{side}.png", sample[side])
    for name in ("disparity", "disparity_right"):
        write_disparity(tmp_path / f"{name}.png", sample[name][0], np.ones((16, 40), bool), PRESETS["kitti"])
    files = {name: tmp_path / f"{name}.png" for name in ("left", "right", "disparity", "disparity_right")}
    return Frame("one", "room", encoding=PRESETS["kitti"], **files)


def frames(frame, **more):
    return Frames([frame], FramesOptions.model_validate(more))


def test_training_sees_what_its_random_numbers_say_and_evaluation_sees_the_files(frame):
    plain, data = frames(frame), frames(frame, augment=ALL)
    assert same(data.sample(0, None), plain.sample(0, None))
    drawn = [data.sample(0, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert same(drawn[0], drawn[1])
    assert not same(drawn[0], drawn[2])
    assert drawn[0].keys() == {"left", "right", "disparity", "valid", "id", "scene"}


def test_a_mirrored_example_of_files_is_the_right_cameras(frame):
    seen = frames(frame, augment={"flip_horizontal": 1.0}).sample(0, np.random.default_rng(0))
    truth = frames(frame, right_truth=True).sample(0, None)
    assert np.array_equal(seen["left"], truth["right"][:, :, ::-1])
    assert np.array_equal(seen["disparity"], truth["disparity_right"][:, :, ::-1])
    assert np.array_equal(truth["disparity_right"], pair()["disparity_right"])


def test_a_set_that_cannot_be_mirrored_is_refused_before_anything_is_read(frame, tmp_path):
    bare = replace(frame, disparity_right=None, left=tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="one has no disparity of the right view"):
        frames(bare, augment={"flip_horizontal": 0.5})
    assert len(frames(replace(bare, disparity=None), augment={"flip_horizontal": 0.5})) == 1


def test_the_guide_has_every_option_and_a_table_that_works():
    guide = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    (block,) = (text for text in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL) if "[data.train.augment]" in text)
    table = tomli.loads(block)["data"]["train"]["augment"]
    assert options(**table).erase.size == (50, 100)
    assert table.keys() == Augment.model_fields.keys()
    assert {f"`{name}`" for name in Augment.model_fields} <= set(re.findall(r"^\| (`\S+`)", guide, re.MULTILINE))
    for inner in (Colour, Noise, Erase):
        assert all(f"`{name}`" in guide for name in inner.model_fields), inner


def test_any_set_can_be_cut_and_augmented_by_a_recipe(toy_recipe):
    """The Motorcycle pair has no table for it, and no truth of the right view."""
    of = {"plugin": "motorcycle", "scale": 0.2}
    wrapped = {"plugin": "augmented", "of": of, "crop": [64, 96], "augment": {"flip_vertical": 1.0}}
    table = load_recipe(toy_recipe(data={"train": wrapped})).data["train"]
    data = Augmented(table.options)
    whole = table.options.of.build().sample(0, None)
    middle = data.sample(0, None)
    assert np.array_equal(middle["left"], cropped(whole, (64, 96), None)["left"])
    drawn = data.sample(0, np.random.default_rng(1))
    assert same(drawn, augmented(whole, options(flip_vertical=1.0), np.random.default_rng(1), (64, 96)))
    assert len(data) == 1
    assert not hasattr(data, "scenes")
    assert not hasattr(data, "augment"), "what the other set cannot do after the base, this one does not promise"
    table.options.of.options = table.options.of.options.model_copy(update={"scale": 0.1})
    with pytest.raises(InputError, match="crop of 96 x 64 px does not fit"):
        Augmented(table.options).sample(0, None)


def test_the_answer_of_the_base_is_turned_and_cut_with_its_frame():
    sample = {name: value for name, value in pair().items() if not name.endswith("_right") or "polar" in name}
    answer = {"base.value": sample["disparity"] * 2, "base.confidence": sample["disparity"] / 9}
    places, turned = set(), set()
    for seed in range(12):
        cut = cut_after_base({**sample, **answer}, options(flip_vertical=0.5), np.random.default_rng(seed), (10, 30))
        alone = augmented(sample, options(flip_vertical=0.5), np.random.default_rng(seed), (10, 30))
        assert same({name: value for name, value in cut.items() if name not in answer}, alone)
        assert np.array_equal(cut["base.value"], cut["disparity"] * 2)
        assert np.array_equal(cut["base.confidence"], cut["disparity"] / 9)
        places.add(cut["left"].tobytes())
        turned.add(bool(np.random.default_rng(seed).random() < 0.5))
    assert len(places) > 2
    assert turned == {True, False}


@pytest.mark.parametrize("name", ["flip_horizontal", "scale", "y_jitter", "colour", "noise", "erase"])
def test_what_the_base_would_have_to_see_is_refused_after_it_with_the_reason(name):
    with pytest.raises(InputError, match=rf"the base's answer does not follow {name}, (after )?which") as refused:
        cut_after_base(pair(), options(**{name: ALL[name]}), np.random.default_rng(0), None)
    assert "before-cache" in refused.value.advice


def test_files_are_shown_to_the_base_whole_and_cut_after_it(tmp_path):
    rng = np.random.default_rng(0)
    for side in ("left", "right"):
        write_image(tmp_path / f"{side}.png", rng.integers(0, 255, (3, 12, 20)).astype(np.float32))
    frame = Frame("a", "a", tmp_path / "left.png", tmp_path / "right.png")
    frames = Frames([frame], FramesOptions(crop=(8, 10), augment=options(flip_vertical=0.5)))
    whole = frames.whole(0)
    assert whole["left"].shape == (3, 12, 20)
    for seed in range(4):
        cut = frames.augment(whole, np.random.default_rng(seed))
        assert same(cut, frames.sample(0, np.random.default_rng(seed)))

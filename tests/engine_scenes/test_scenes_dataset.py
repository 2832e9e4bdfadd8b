import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engine_scenes import store
from engine_scenes.dataset import PolarizedScenes
from engine_scenes.options import SceneOptions
from engine_scenes.pairs import render_pair
from engine_scenes.scene import random_scene
from pydantic import ValidationError

from engine import testing
from engine.errors import WorldError

SMALL = {"split": "val", "count": 2, "height": 48, "width": 64}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(cache))


def small(**changes: object) -> PolarizedScenes:
    return PolarizedScenes(SceneOptions.model_validate({**SMALL, **changes}))


def test_a_sample_has_the_promised_shapes() -> None:
    sample = small().sample(0, None)
    for name, channels in (("left", 3), ("right", 3), ("polarization_left", 2), ("polarization_right", 2)):
        assert sample[name].shape == (channels, 48, 64)
        assert sample[name].dtype == np.float32
    assert sample["disparity"].shape == (1, 48, 64)
    assert sample["disparity"].dtype == np.float32
    for name in ("valid", "occluded", "transparent"):
        assert sample[name].shape == (1, 48, 64)
        assert sample[name].dtype == bool
    assert sample["id"] == sample["scene"] == "val-00000"
    assert 0 <= sample["left"].min() < sample["left"].max() <= 255
    assert isinstance(sample["focal"], np.float32)
    assert isinstance(sample["baseline"], np.float32)


@pytest.mark.parametrize("promise", testing.dataset("polarized_scenes", SMALL), ids=str)
def test_it_keeps_its_promises(promise: testing.Check) -> None:
    promise()


def test_training_noise_is_fresh() -> None:
    one, noisy = small().sample(1, None), small().sample(1, np.random.default_rng(0))
    assert not np.array_equal(noisy["left"], one["left"])
    np.testing.assert_array_equal(noisy["disparity"], one["disparity"])


def test_a_scene_does_not_depend_on_how_many_are_rendered_or_by_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = small().sample(1, None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    # Unbuffered workers would tear their reports apart if a report were more than one write.
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    reports = []
    many = small(count=8)
    many.prepare(lambda done, total, what: reports.append((done, total, what)))
    assert [r[0] for r in reports] == list(range(1, 9))
    assert reports[-1][1:] == (8, "rendering 8 val scenes")
    beside = many.sample(1, None)
    for name, value in alone.items():
        np.testing.assert_array_equal(value, beside[name])


def test_the_second_use_renders_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    small().prepare(lambda *_: None)

    def refuse(*_: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(store, "write", refuse)
    again = small(noise=0.1, crop=(16, 16))
    again.prepare(refuse)
    again.sample(0, None)


def test_an_interrupted_writer_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small().prepare(interrupt)
    assert not list(tmp_path.rglob("*.zarr*/"))
    killed = store.store_path(small().options)
    left_over = killed.with_name(f"{killed.name}.partial-dead")
    store.create(left_over, small().options)
    assert small().sample(0, None)["valid"].all()
    assert killed.exists()
    assert not left_over.exists()


def test_a_failing_worker_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorldError, match="ended with code 1"):
        small(count=8).prepare(lambda *_: None)
    assert not list(tmp_path.rglob("*.zarr*/"))


def test_a_crop_cuts_every_field_alike() -> None:
    whole = small(noise=0, shot_noise=0).sample(0, None)
    cropped = small(noise=0, shot_noise=0, crop=(20, 40))
    part = cropped.sample(0, np.random.default_rng(4))
    places = [
        (y, x)
        for y in range(48 - 20 + 1)
        for x in range(64 - 40 + 1)
        if np.array_equal(whole["left"][:, y : y + 20, x : x + 40], part["left"])
    ]
    assert len(places) == 1
    y, x = places[0]
    for name in ("right", "polarization_left", "polarization_right", "disparity", "valid", "transparent"):
        np.testing.assert_array_equal(part[name], whole[name][:, y : y + 20, x : x + 40])
    lost = np.arange(40) - part["disparity"] < -0.5
    np.testing.assert_array_equal(part["occluded"], whole["occluded"][:, y : y + 20, x : x + 40] | lost)
    assert cropped.sample(0, None)["left"].shape == (3, 48, 64)


def test_disparities_of_wide_images_are_stored_whole() -> None:
    options = SceneOptions(split="val", count=1, height=16, width=3200)
    truth = render_pair(random_scene(0, "val", 0, 16, 3200)).truth.disparity.numpy()
    assert truth.max() > 256
    np.testing.assert_allclose(PolarizedScenes(options).sample(0, None)["disparity"][0], truth, atol=1 / 256)


def test_a_disparity_that_does_not_fit_is_not_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "DISPARITY_SCALE", 10_000)
    options = SceneOptions.model_validate({**SMALL, "count": 1})
    truth = render_pair(random_scene(0, "val", 0, 48, 64)).truth.disparity.numpy()
    fits = truth * 10_000 < 65535
    assert 0 < fits.mean() < 1
    np.testing.assert_array_equal(PolarizedScenes(options).sample(0, None)["valid"][0], fits)


def test_it_travels_to_another_process() -> None:
    dataset = small()
    dataset.sample(0, None)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(dataset)).sample(1, None)["left"], dataset.sample(1, None)["left"]
    )


def test_an_index_out_of_range_is_refused() -> None:
    with pytest.raises(IndexError):
        small().sample(2, None)


@pytest.mark.parametrize("wrong", [{"crop": (64, 20)}, {"count": 0}, {"splitt": "val"}, {"split": "all"}])
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        SceneOptions.model_validate({**SMALL, **wrong})


def test_registering_loads_neither_torch_nor_zarr() -> None:
    code = (
        "import sys; from engine_scenes.plugin import engine_datasets; names = [];"
        "engine_datasets(lambda name, options, factory: names.append((name, factory)));"
        "assert names == [('polarized_scenes', 'engine_scenes.dataset:PolarizedScenes')], names;"
        "assert not {'torch', 'zarr'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_scene_is_cut_with_the_answer_to_all_of_it_where_training_would_cut_it() -> None:
    scenes = small(crop=[32, 48], noise=0, shot_noise=0)
    whole = scenes.sample(1, None)
    for seed in range(4):
        cut = scenes.augment({**whole, "base.value": 2 * whole["disparity"]}, np.random.default_rng(seed))
        trained = scenes.sample(1, np.random.default_rng(seed))
        assert np.array_equal(cut.pop("base.value"), 2 * trained["disparity"])
        for name, value in trained.items():
            assert np.array_equal(cut[name], value), name


def test_a_scene_of_which_only_some_fields_were_kept_is_cut_too() -> None:
    scenes = small(crop=[32, 48])
    whole = scenes.sample(1, None)
    kept = {name: whole[name] for name in ("disparity", "valid")}
    cut = scenes.augment(kept, np.random.default_rng(0))
    assert cut.keys() == kept.keys()
    assert cut["disparity"].shape == (1, 32, 48)

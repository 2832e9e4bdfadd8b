"""DrivingStereo and Argoverse in their layouts."""

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from stereo_trees import codes, colours, data_set, names, picture, values

from engine.errors import InputError

DRIVE = "2018-07-11-14-48-52"
NAME = f"{DRIVE}_2018-07-11-14-50-08-769"
CODES = [[0, 256, 512, 65535], [128, 1, 0, 384]]


def _jpg(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 4, 3), value, np.uint8)).save(path)


@pytest.fixture
def driving(tmp_path):
    """One pair of every split; the weathers' in both sizes."""
    for part, value in (("left-image", 10), ("right-image", 20)):
        _jpg(tmp_path / f"train-{part}" / DRIVE / f"{NAME}.jpg", value)
        _jpg(tmp_path / f"test-{part}" / f"{part}-half-size" / f"{NAME}.jpg", value)
        _jpg(tmp_path / "foggy" / f"{part}-half-size" / f"{NAME}.jpg", value)
        picture(tmp_path / "foggy" / f"{part}-full-size" / f"{NAME}.png", value)
    for folder in (f"train-disparity-map/{DRIVE}", "test-disparity-map/disparity-map-half-size"):
        codes(tmp_path / folder / f"{NAME}.png", CODES, np.uint16)
    for size in ("half", "full"):
        codes(tmp_path / "foggy" / f"disparity-map-{size}-size" / f"{NAME}.png", CODES, np.uint16)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "per_px", "name"),
    [
        ({}, 256, f"{DRIVE}/{NAME}"),
        ({"split": "test"}, 256, NAME),
        ({"split": "foggy"}, 256, NAME),
        ({"split": "foggy", "size": "full"}, 128, NAME),
    ],
)
def test_disparity_counts_in_256ths_of_half_size_and_128ths_of_full_size(driving, options, per_px, name):
    data = data_set("drivingstereo", driving, **options)
    assert names(data) == [(name, DRIVE)]
    sample = data.sample(0, None)
    assert colours(sample) == (10, 20)
    assert values(sample, "disparity") == [[code / per_px for code in row] for row in CODES]
    assert values(sample, "valid") == [[code > 0 for code in row] for row in CODES]


def test_full_size_is_of_the_weathers_only(driving):
    with pytest.raises(ValidationError, match="split 'train' was published in half size only"):
        data_set("drivingstereo", driving, size="full")


TIMES = {"left": (315969338566583992, 315969338766583992), "right": (315969338566584664, 315969338766500000)}


@pytest.fixture
def argoverse(tmp_path):
    for split in ("train", "test"):
        for view, base in (("left", 10), ("right", 40)):
            camera = f"stereo_front_{view}_rect"
            for index, time in enumerate(TIMES[view]):
                folder = tmp_path / "rectified_stereo_images_v1.1" / split / "log-a" / camera
                _jpg(folder / f"{camera}_{time}.jpg", base + 10 * index)
    for index, time in enumerate(TIMES["left"]):
        folder = tmp_path / "disparity_maps_v1.1/train/log-a/stereo_front_left_rect_disparity"
        codes(folder / f"stereo_front_left_rect_disparity_{time}.png", [[0, 256 * (index + 1)] * 2] * 2, np.uint16)
    return tmp_path


def test_the_right_picture_of_argoverse_is_the_nearest_in_time(argoverse):
    data = data_set("argoverse_stereo", argoverse)
    assert names(data) == [(f"log-a/{time}", "log-a") for time in TIMES["left"]]
    samples = [data.sample(index, None) for index in (0, 1)]
    assert [colours(sample) for sample in samples] == [(10, 40), (20, 50)]
    assert [values(sample, "disparity") for sample in samples] == [[[0, 1, 0, 1]] * 2, [[0, 2, 0, 2]] * 2]
    assert values(samples[0], "valid") == [[False, True, False, True]] * 2


def test_the_test_pictures_of_argoverse_have_no_truth(argoverse):
    data = data_set("argoverse_stereo", argoverse, split="test")
    assert data.sample(0, None).keys() == {"left", "right", "id", "scene"}


def test_partners_of_another_moment_are_none(argoverse):
    images = argoverse / "rectified_stereo_images_v1.1/train/log-a"
    (images / f"stereo_front_right_rect/stereo_front_right_rect_{TIMES['right'][1]}.jpg").unlink()
    truth = argoverse / "disparity_maps_v1.1/train/log-a/stereo_front_left_rect_disparity"
    (truth / f"stereo_front_left_rect_disparity_{TIMES['left'][0]}.png").unlink()
    with pytest.raises(InputError) as refused:
        data_set("argoverse_stereo", argoverse)
    left = [str(images / f"stereo_front_left_rect/stereo_front_left_rect_{time}.jpg") for time in TIMES["left"]]
    told = [(problem.where, problem.what) for problem in refused.value.problems]
    assert told == [
        (left[0], "the disparity of that moment is not there"),
        (left[1], "the right picture of that moment is not there"),
    ]

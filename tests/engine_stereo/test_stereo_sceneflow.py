"""Scene Flow in its layout, and the subset whose left disparity is negative."""

import numpy as np
import pytest
from pydantic import ValidationError
from stereo_trees import codes, colours, data_set, names, pfm, picture, values

from engine.errors import InputError

FILMS = {
    "FlyingThings3D": ("TRAIN/A/0000", "TRAIN/C/0010", "TEST/A/0000"),
    "Monkaa": ("eating_x2",),
    "Driving": tuple(
        f"{lens}_focallength/{street}/{speed}"
        for lens in ("15mm", "35mm")
        for street in ("scene_backwards", "scene_forwards")
        for speed in ("fast", "slow")
    ),
}


@pytest.fixture
def tree(tmp_path):
    """Every film; clean pictures are 10 and 20, final ones 30 and 40, and the truth of the right view is another."""
    for film, folders in FILMS.items():
        for folder in folders:
            for rendering, value in (("clean", 10), ("final", 30)):
                frames = tmp_path / film / f"frames_{rendering}pass" / folder
                picture(frames / "left" / "0006.png", value)
                picture(frames / "right" / "0006.png", value + 10)
            pfm(tmp_path / film / "disparity" / folder / "left" / "0006.pfm", [[1, 2.5, 511, 512], [3, 4, 5, 900]])
            pfm(tmp_path / film / "disparity" / folder / "right" / "0006.pfm", np.ones((2, 4)))
    return tmp_path


def test_the_films_are_read_together_and_split_by_what_was_rendered(tree):
    data = data_set("sceneflow", tree)
    assert names(data)[:3] == [
        ("FlyingThings3D/TRAIN/A/0000/0006", "FlyingThings3D/TRAIN/A/0000"),
        ("FlyingThings3D/TRAIN/C/0010/0006", "FlyingThings3D/TRAIN/C/0010"),
        ("Monkaa/eating_x2/0006", "Monkaa/eating_x2"),
    ]
    streets = [scene for _, scene in names(data)[3:]]  # one street at both speeds and through both lenses
    assert (len(streets), set(streets)) == (8, {"Driving/scene_backwards", "Driving/scene_forwards"})
    assert names(data)[3][0] == "Driving/15mm_focallength/scene_backwards/fast/0006"


def test_disparity_of_512_px_and_more_is_not_taken_for_known(tree):
    sample = data_set("sceneflow", tree).sample(0, None)
    assert values(sample, "disparity") == [[1, 2.5, 511, 0], [3, 4, 5, 0]]
    assert values(sample, "valid") == [[True, True, True, False]] * 2
    assert colours(sample) == (10, 20)


def test_films_rendering_and_the_published_test_can_be_chosen(tree):
    assert colours(data_set("sceneflow", tree, render="final").sample(0, None)) == (30, 40)
    assert len(data_set("sceneflow", tree, subsets=["monkaa"])) == 1
    test = data_set("sceneflow", tree, split="test")
    assert names(test) == [("FlyingThings3D/TEST/A/0000/0006", "FlyingThings3D/TEST/A/0000")]
    with pytest.raises(ValidationError, match="split 'test' is of 'flyingthings3d' only"):
        data_set("sceneflow", tree, subsets=["driving"], split="test")


def test_a_film_that_was_not_downloaded_is_asked_for(tree):
    (tree / "Monkaa").rename(tree / "monkey")
    with pytest.raises(InputError, match=r"the pictures are not there; expected 'Monkaa/frames_cleanpass/\*/left"):
        data_set("sceneflow", tree)


@pytest.fixture
def subset(tmp_path):
    for split, numbers in (("train", ("0000009", "0000010", "0000011")), ("val", ("0000000",))):
        for number in numbers:
            for rendering, value in (("clean", 10), ("final", 30)):
                picture(tmp_path / split / f"image_{rendering}" / "left" / f"{number}.png", value)
                picture(tmp_path / split / f"image_{rendering}" / "right" / f"{number}.png", value + 10)
            pfm(tmp_path / split / "disparity" / "left" / f"{number}.pfm", [[-1, -2.5, -3, -512], [-4, -5, -6, -7]])
            pfm(tmp_path / split / "disparity" / "right" / f"{number}.pfm", np.full((2, 4), 9))
            occlusions = [[0, 255, 0, 0], [0, 0, 0, 255]]
            codes(tmp_path / split / "disparity_occlusions" / "left" / f"{number}.png", occlusions)
            codes(tmp_path / split / "disparity_occlusions" / "right" / f"{number}.png", np.zeros((2, 4)))
    return tmp_path


def test_the_left_disparity_of_the_subset_is_stored_negative(subset):
    data = data_set("flyingthings3d_subset", subset)
    assert names(data) == [
        ("train/0000009", "train/000000"),
        ("train/0000010", "train/000001"),
        ("train/0000011", "train/000001"),
    ]
    sample = data.sample(0, None)
    assert values(sample, "disparity") == [[1, 2.5, 3, 0], [4, 5, 6, 7]]
    assert values(sample, "valid") == [[True, True, True, False], [True] * 4]
    assert values(sample, "occluded") == [[False, True, False, False], [False, False, False, True]]
    assert colours(sample) == (10, 20)


def test_the_subset_has_its_own_validation_and_both_renderings(subset):
    data = data_set("flyingthings3d_subset", subset, split="val", render="final")
    assert names(data) == [("val/0000000", "val/000000")]
    assert colours(data.sample(0, None)) == (30, 40)


def test_the_right_views_truth_is_read_where_examples_are_mirrored(tree):
    mirror = {"augment": {"flip_horizontal": 1.0}}
    sample = data_set("sceneflow", tree, **mirror).sample(0, np.random.default_rng(0))
    assert values(sample, "disparity") == np.ones((2, 4)).tolist()
    assert colours(sample) == (20, 10)
    assert data_set("sceneflow", tree, right_truth=True).sample(0, None)["disparity_right"].max() == 1


def test_the_subset_is_mirrored_with_the_occlusions_of_both_views(subset):
    mirror = {"augment": {"flip_horizontal": 1.0}}
    occlusions = subset / "train" / "disparity_occlusions" / "right"
    codes(occlusions / "0000009.png", [[255, 0, 0, 0]] * 2)
    sample = data_set("flyingthings3d_subset", subset, **mirror).sample(0, np.random.default_rng(0))
    assert values(sample, "disparity") == np.full((2, 4), 9).tolist()
    assert values(sample, "occluded") == [[False, False, False, True]] * 2
    (occlusions / "0000010.png").unlink()
    with pytest.raises(InputError, match=r"occluded_right of train/image_clean/left/0000010.png is not there"):
        data_set("flyingthings3d_subset", subset, **mirror)

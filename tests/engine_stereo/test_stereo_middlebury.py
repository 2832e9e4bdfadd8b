"""Middlebury's sets in their layouts: 2014, the evaluation's version 3, 2021, 2005 and 2006."""

import numpy as np
import pytest
from pydantic import ValidationError
from stereo_trees import MIDDLEBURY_CALIB, codes, colours, data_set, names, pfm, picture, text, values

from engine.errors import InputError

INF = np.inf


def _2014(root, folder, truth, pictures=(("im0", 10), ("im1", 20), ("im1E", 30), ("im1L", 40))):
    for name, value in pictures:
        picture(root / folder / f"{name}.png", value)
    pfm(root / folder / "disp0.pfm", truth, scale=-0.003922)
    pfm(root / folder / "disp1.pfm", np.zeros((2, 4)))
    text(root / folder / "calib.txt", MIDDLEBURY_CALIB)


@pytest.fixture
def tree_2014(tmp_path):
    _2014(tmp_path, "Shopvac-perfect", [[1.5, INF, 0, -3], [2, 3, 4, 5]])
    _2014(tmp_path, "Shopvac-imperfect", [[7] * 4] * 2)
    _2014(tmp_path, "Adirondack-perfect", [[9] * 4] * 2)
    return tmp_path


def test_2014_takes_the_perfect_rectification_and_knows_no_number_of_0_or_less(tree_2014):
    data = data_set("middlebury2014", tree_2014)
    assert names(data) == [("Adirondack-perfect", "Adirondack"), ("Shopvac-perfect", "Shopvac")]
    sample = data.sample(1, None)
    assert values(sample, "disparity") == [[1.5, 0, 0, 0], [2, 3, 4, 5]]
    assert values(sample, "valid") == [[True, False, False, False], [True] * 4]
    assert colours(sample) == (10, 20)
    assert (sample["focal"], sample["baseline"], sample["doffs"]) == (100, np.float32(0.2), 3)
    assert "occluded" not in sample


def test_2014_has_right_pictures_in_other_light_and_imperfect_rectification(tree_2014):
    assert colours(data_set("middlebury2014", tree_2014, right="exposure").sample(0, None)) == (10, 30)
    assert colours(data_set("middlebury2014", tree_2014, right="lighting").sample(0, None)) == (10, 40)
    imperfect = data_set("middlebury2014", tree_2014, rectification="imperfect")
    assert names(imperfect) == [("Shopvac-imperfect", "Shopvac")]
    assert values(imperfect.sample(0, None), "disparity") == [[7] * 4] * 2


@pytest.fixture
def eval3(tmp_path):
    for scene in ("PianoL", "Piano", "MotorcycleE"):
        folder = tmp_path / "trainingQ" / scene
        picture(folder / "im0.png", 10)
        picture(folder / "im1.png", 20)
        pfm(folder / "disp0GT.pfm", [[1, 2, INF, 4], [5, 6, 7, 8]], scale=-0.003922)
        codes(folder / "mask0nocc.png", [[255, 128, 0, 255], [255, 255, 128, 255]])
        text(folder / "calib.txt", MIDDLEBURY_CALIB)
    for view in ("im0", "im1"):
        picture(tmp_path / "testQ" / "Djembe" / f"{view}.png", 30)
    return tmp_path


def test_eval3_tells_what_is_occluded_from_what_is_unknown(eval3):
    data = data_set("middeval3", eval3, resolution="Q")
    assert names(data) == [("MotorcycleE", "Motorcycle"), ("Piano", "Piano"), ("PianoL", "Piano")]
    sample = data.sample(0, None)
    assert values(sample, "disparity") == [[1, 2, 0, 4], [5, 6, 7, 8]]
    assert values(sample, "valid") == [[True, True, False, True], [True] * 4]
    assert values(sample, "occluded") == [[False, True, False, False], [False, False, True, False]]
    assert sample["focal"] == 100


def test_the_test_pictures_of_eval3_have_no_truth(eval3):
    data = data_set("middeval3", eval3, resolution="Q", split="test")
    assert data.sample(0, None).keys() == {"left", "right", "id", "scene"}
    with pytest.raises(InputError, match=r"'trainingF/\*/im0.png' with 'trainingF/\*/im1.png' with"):
        data_set("middeval3", eval3, resolution="F")


def test_2021_keeps_both_views_of_a_scene_together_and_its_pairs_in_other_light_apart(tmp_path):
    for scene in ("artroom1", "artroom2"):
        for index, name in enumerate(("im0", "im1", "ambient/L0/im0e1", "ambient/L0/im1e1")):
            picture(tmp_path / scene / f"{name}.png", 10 * index)
        pfm(tmp_path / scene / "disp0.pfm", [[1, 2, INF, 4], [5, 6, 7, 8]])
        text(tmp_path / scene / "calib.txt", MIDDLEBURY_CALIB)
    plain = data_set("middlebury2021", tmp_path)
    assert names(plain) == [("artroom1", "artroom"), ("artroom2", "artroom")]
    assert values(plain.sample(0, None), "disparity") == [[1, 2, 0, 4], [5, 6, 7, 8]]
    every = data_set("middlebury2021", tmp_path, ambient=True)
    assert names(every)[2:] == [("artroom1/L0/e1", "artroom"), ("artroom2/L0/e1", "artroom")]
    assert [colours(every.sample(index, None)) for index in (0, 2)] == [(0, 10), (20, 30)]
    assert values(every.sample(2, None), "disparity") == values(plain.sample(0, None), "disparity")


@pytest.fixture
def tree_2006(tmp_path):
    for scene in ("Aloe", "Computer"):
        for folder in ("", "Illum1/Exp0/"):
            picture(tmp_path / scene / f"{folder}view1.png", 10 + len(folder))
            picture(tmp_path / scene / f"{folder}view5.png", 50 + len(folder))
    codes(tmp_path / "Aloe" / "disp1.png", [[0, 60, 120, 255], [3, 6, 9, 12]])
    return tmp_path


@pytest.mark.parametrize(("size", "one"), [("full", 1), ("half", 2), ("third", 3)])
def test_2006_counts_in_px_of_the_size_that_was_downloaded(tree_2006, size, one):
    data = data_set("middlebury2006", tree_2006, size=size)
    assert names(data) == [("Aloe", "Aloe")]  # the other was published without truth
    sample = data.sample(0, None)
    assert sample["disparity"][0] == pytest.approx(np.array([[0, 60, 120, 255], [3, 6, 9, 12]]) / one)
    assert values(sample, "valid") == [[False, True, True, True], [True] * 4]
    assert colours(sample) == (10, 50)


def test_2006_has_pairs_in_other_light_with_the_same_truth(tree_2006):
    data = data_set("middlebury2006", tree_2006, size="full", illuminations=True)
    assert names(data) == [("Aloe", "Aloe"), ("Aloe/Illum1/Exp0", "Aloe")]
    assert colours(data.sample(1, None)) == (22, 62)
    assert values(data.sample(1, None), "disparity") == values(data.sample(0, None), "disparity")


def test_the_size_of_2006_and_the_resolution_of_eval3_are_never_guessed(tmp_path):
    for name, option in (("middlebury2006", "size"), ("middeval3", "resolution")):
        with pytest.raises(ValidationError, match=option):
            data_set(name, tmp_path)

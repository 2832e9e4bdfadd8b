"""Booster in its layout: illuminations with one truth a scene, and classes of material."""

import numpy as np
import pytest
from stereo_trees import codes, colours, data_set, names, npy, picture, text, values

CALIB = (
    '<?xml version="1.0"?><opencv_storage><mtxL><data>400. 0. 2. 0. 400. 1. 0. 0. 1.</data></mtxL>'
    "<proj_matR><data>400. 0. 14. -4e4 0. 400. 1. 0. 0. 0. 1. 0.</data></proj_matR>"
    "<baselineLR>-100.</baselineLR></opencv_storage>"
)
# Blocks of 4 px, so that the benchmark's quarter size has one of each.
ONE = np.ones((4, 4))
TRUTH = [[8, 0], [16, 2]]
SEEN = [[255, 255], [255, 0]]
CLASSES = [[0, 1], [2, 3]]


def _frame(folder, images):
    for name, value in images.items():
        codes(folder / "camera_00" / f"{name}.png", np.full((8, 8, 3), value))
        codes(folder / "camera_02" / f"{name}.png", np.full((8, 8, 3), value + 10))
    text(folder / "calib_00-02.xml", CALIB)


@pytest.fixture
def tree(tmp_path):
    for scene in ("Bathroom", "Kitchen"):
        folder = tmp_path / "train" / "balanced" / scene
        _frame(folder, {"im0": 10, "im1": 50})
        npy(folder / "disp_00.npy", np.kron(TRUTH, ONE))
        npy(folder / "disp_02.npy", np.zeros((8, 8)))
        codes(folder / "mask_00.png", np.kron(SEEN, ONE))
        codes(folder / "mask_cat.png", np.kron(CLASSES, ONE))
    picture(tmp_path / "train" / "unbalanced" / "Bathroom" / "camera_00" / "im0.png", 90)
    _frame(tmp_path / "test" / "balanced" / "Mirror", {"im0": 70})
    return tmp_path


def test_the_illuminations_of_a_scene_share_its_truth_and_its_side_of_a_split(tree):
    data = data_set("booster", tree)
    assert names(data) == [
        ("Bathroom/im0", "Bathroom"),
        ("Bathroom/im1", "Bathroom"),
        ("Kitchen/im0", "Kitchen"),
        ("Kitchen/im1", "Kitchen"),
    ]
    assert [colours(data.sample(index, None)) for index in (0, 1)] == [(10, 20), (50, 60)]
    for index in (0, 1):
        sample = data.sample(index, None)
        assert values(sample, "disparity") == np.kron(TRUTH, ONE).tolist()
        assert values(sample, "valid") == np.kron([[True, False], [True, True]], ONE).tolist()
        assert values(sample, "occluded") == np.kron([[False, False], [False, True]], ONE).tolist()
        assert values(sample, "transparent") == np.kron([[False, False], [True, True]], ONE).tolist()
        assert (sample["focal"], sample["baseline"], sample["doffs"]) == (400, np.float32(0.1), 12)


def test_no_illumination_of_a_scene_is_on_the_other_side_of_a_split(tree):
    parts = [data_set("booster", tree, part=part, val_share=0.5) for part in ("train", "val")]
    assert [names(data) for data in parts] == [
        [("Kitchen/im0", "Kitchen"), ("Kitchen/im1", "Kitchen")],
        [("Bathroom/im0", "Bathroom"), ("Bathroom/im1", "Bathroom")],
    ]


def test_the_quarter_size_of_the_benchmark_divides_the_disparity_too(tree):
    sample = data_set("booster", tree, scale=0.25).sample(0, None)
    assert values(sample, "disparity") == [[2, 0], [4, 0.5]]
    assert values(sample, "valid") == [[True, False], [True, True]]
    assert values(sample, "transparent") == [[False, False], [True, True]]
    assert (sample["focal"], sample["doffs"]) == (100, 3)


def test_each_class_of_material_is_a_mask_where_that_is_asked_for(tree):
    sample = data_set("booster", tree, classes=True, scale=0.25).sample(0, None)
    for value in range(4):
        assert values(sample, f"class_{value}") == (np.array(CLASSES) == value).tolist()


def test_the_test_pictures_have_no_truth(tree):
    data = data_set("booster", tree, split="test")
    assert names(data) == [("Mirror/im0", "Mirror")]
    assert data.sample(0, None).keys() == {"left", "right", "focal", "baseline", "doffs", "id", "scene"}

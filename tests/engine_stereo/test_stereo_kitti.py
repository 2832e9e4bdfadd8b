"""KITTI 2012 and 2015 in their layouts."""

import numpy as np
import pytest
from stereo_trees import codes, colours, data_set, names, picture, values

FOLDERS = {
    "kitti2012": ("colored_0", "colored_1", "disp_occ", "disp_noc", "disp_refl_occ", "calib"),
    "kitti2015": ("image_2", "image_3", "disp_occ_0", "disp_noc_0", "obj_map", "calib_cam_to_cam"),
}
CLASS = {"kitti2012": "reflective", "kitti2015": "foreground"}
CALIB = {
    "kitti2012": "P0: {0}\nP1: {0}\nP2: {0}\nP3: {1}\n",
    "kitti2015": "P_rect_00: {0}\nP_rect_01: {0}\nP_rect_02: {0}\nP_rect_03: {1}\n",
}


@pytest.fixture(params=list(FOLDERS))
def tree(request, tmp_path):
    """(name of the set, root): frames 0 and 7 with what KITTI has of each, and its next moment, _11."""
    left, right, occ, noc, classes, calib = FOLDERS[request.param]
    for split, frames in (("training", ("000000", "000007")), ("testing", ("000003",))):
        for frame in frames:
            for moment in ("10", "11"):
                picture(tmp_path / split / left / f"{frame}_{moment}.png", 10)
                picture(tmp_path / split / right / f"{frame}_{moment}.png", 20)
    for frame in ("000000", "000007"):
        folder = tmp_path / "training"
        codes(folder / occ / f"{frame}_10.png", [[0, 256, 16829, 65535], [1, 0, 512, 300]], np.uint16)
        codes(folder / noc / f"{frame}_10.png", [[0, 256, 16829, 0], [1, 0, 0, 300]], np.uint16)
        dtype = np.uint8 if request.param == "kitti2015" else np.uint16
        codes(folder / classes / f"{frame}_10.png", [[0, 1, 2, 0], [0, 0, 1, 0]], dtype)
        (folder / calib).mkdir(exist_ok=True)
        matrices = (f"100 0 2 {offset} 0 100 1 0 0 0 1 0" for offset in (4, -50))
        (folder / calib / f"{frame}.txt").write_text(CALIB[request.param].format(*matrices))
    return request.param, tmp_path


def test_a_frame_has_its_first_moment_with_all_that_kitti_knows_of_it(tree):
    name, root = tree
    data = data_set(name, root)
    assert names(data) == [("000000_10", "000000_10"), ("000007_10", "000007_10")]
    sample = data.sample(0, None)
    assert colours(sample) == (10, 20)
    assert values(sample, "disparity") == [[0, 1, 16829 / 256, 65535 / 256], [1 / 256, 0, 2, 300 / 256]]
    assert values(sample, "valid") == [[False, True, True, True], [True, False, True, True]]
    assert (sample["occluded"] & sample["valid"])[0].tolist() == [[False] * 3 + [True], [False, False, True, False]]
    assert values(sample, CLASS[name]) == [[False, True, True, False], [False, False, True, False]]
    assert (sample["focal"], sample["baseline"], sample["doffs"]) == (100, np.float32(0.54), 0)


def test_the_pixels_that_are_not_occluded_are_those_of_disp_noc(tree):
    name, root = tree
    sample = data_set(name, root).sample(0, None)
    noc = sample["valid"] & ~sample["occluded"]
    assert noc[0].tolist() == [[False, True, True, False], [True, False, False, True]]


def test_the_testing_pictures_have_no_truth(tree):
    name, root = tree
    data = data_set(name, root, split="testing")
    assert names(data) == [("000003_10", "000003_10")]
    assert data.sample(0, None).keys() == {"left", "right", "id", "scene"}


def test_what_was_not_downloaded_is_no_field(tree):
    name, root = tree
    for folder in FOLDERS[name][3:]:
        for file in (root / "training" / folder).iterdir():
            file.unlink()
    assert data_set(name, root).sample(0, None).keys() == {"left", "right", "disparity", "valid", "id", "scene"}

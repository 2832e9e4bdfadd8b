"""ETH3D's two-view benchmark in its layout."""

import numpy as np
import pytest
from stereo_trees import MIDDLEBURY_CALIB, codes, colours, data_set, names, pfm, picture, text, values


@pytest.fixture
def tree(tmp_path):
    for split, scenes in (
        ("training", ("delivery_area_1l", "delivery_area_2s", "forest_1s")),
        ("testing", ("lake_1s",)),
    ):
        for scene in scenes:
            folder = tmp_path / f"two_view_{split}" / scene
            picture(folder / "im0.png", 10, colour=False)
            picture(folder / "im1.png", 20, colour=False)
            text(folder / "calib.txt", MIDDLEBURY_CALIB.replace("doffs=3", "doffs=0"))
            text(folder / "cameras.txt", "# not read\n")
            if split == "training":
                truth = tmp_path / "two_view_training_gt" / scene
                pfm(truth / "disp0GT.pfm", [[1, np.inf, 3, 4], [5, 6, 7, 8]])
                codes(truth / "mask0nocc.png", [[255, 0, 0, 255], [128, 255, 255, 255]])
    return tmp_path


def test_grey_pictures_get_three_channels_and_the_mask_tells_what_both_views_see(tree):
    data = data_set("eth3d", tree)
    assert names(data) == [
        ("delivery_area_1l", "delivery_area"),
        ("delivery_area_2s", "delivery_area"),
        ("forest_1s", "forest"),
    ]
    sample = data.sample(0, None)
    assert sample["left"].shape == (3, 2, 4)
    assert colours(sample) == (10, 20)
    assert values(sample, "disparity") == [[1, 0, 3, 4], [5, 6, 7, 8]]
    assert values(sample, "valid") == [[True, False, True, True], [True] * 4]
    noc = sample["valid"] & ~sample["occluded"]
    assert noc[0].tolist() == [[True, False, False, True], [False, True, True, True]]
    assert (sample["focal"], sample["baseline"], sample["doffs"]) == (100, np.float32(0.2), 0)


@pytest.mark.parametrize("folder", ["two_view_testing", "two_view_test"])
def test_the_testing_pictures_have_no_truth(tree, folder):
    (tree / "two_view_testing").rename(tree / folder)
    data = data_set("eth3d", tree, split="testing")
    assert names(data) == [("lake_1s", "lake")]
    assert data.sample(0, None).keys() == {"left", "right", "focal", "baseline", "doffs", "id", "scene"}

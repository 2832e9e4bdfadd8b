"""The readers on real files, in the folder that the environment variable ENGINE_SHARED_DATA names."""

import os
from pathlib import Path

import numpy as np
import pytest
from stereo_trees import data_set

REAL = Path(os.environ["ENGINE_SHARED_DATA"])

# Where a published file lies -> the real one.
MOTORCYCLE = {
    f"trainingQ/Motorcycle/{name}": f"middlebury2014_Q/Motorcycle/{name}"
    for name in ("im0.png", "im1.png", "disp0GT.pfm", "mask0nocc.png", "calib.txt")
}
STREET = {
    f"training/{folder}/000046_10.png": f"kitti2015/training/{folder}/000046_10.png"
    for folder in ("image_2", "image_3", "disp_occ_0")
}
THINGS = {
    "FlyingThings3D/frames_cleanpass/TRAIN/A/0032/left/0006.png": "sceneflow_sample/left/A-0032-0006.png",
    "FlyingThings3D/frames_cleanpass/TRAIN/A/0032/right/0006.png": "sceneflow_sample/right/A-0032-0006.png",
    "FlyingThings3D/disparity/TRAIN/A/0032/left/0006.pfm": "sceneflow_sample/disparity_left/A-0032-0006.pfm",
}
ALOE = {
    "Aloe/view1.png": "middlebury2006_aloe/aloeL.jpg",
    "Aloe/view5.png": "middlebury2006_aloe/aloeR.jpg",
    "Aloe/disp1.png": "middlebury2006_aloe/aloeGT.png",
}
SETS = {
    "middeval3": (MOTORCYCLE, {"resolution": "Q"}),
    "kitti2015": (STREET, {}),
    "sceneflow": (THINGS, {"subsets": ["flyingthings3d"]}),
    "middlebury2006": (ALOE, {"size": "full"}),
}
# Size (width, height) and share of known pixels that the folder's README gives, and the range where it gives one.
FIGURES = {
    "middeval3": ((741, 497), 0.979, None),
    "kitti2015": ((1242, 375), 0.118, (4.87, 65.74)),
    "sceneflow": ((960, 540), 1.0, None),
    "middlebury2006": ((1282, 1110), 0.965, (43, 211)),
}


@pytest.fixture
def sample(request, tmp_path):
    files, options = SETS[request.param]
    for place, file in files.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).symlink_to(REAL / file)
    return request.param, data_set(request.param, tmp_path, **options).sample(0, None)


def _photometric(sample, scale):
    """Mean |right(x - scale d) - left| where that is known, seen by both views, and inside the picture."""
    height, width = sample["left"].shape[1:]
    visible = sample["valid"][0] & ~sample.get("occluded", np.zeros((1, height, width), bool))[0]
    rows, columns = np.nonzero(visible)
    at = columns - scale * sample["disparity"][0, rows, columns]
    inside = (at >= 0) & (at <= width - 1)
    rows, columns, at = rows[inside], columns[inside], at[inside]
    left_of = np.minimum(at.astype(int), width - 2)
    share = at - left_of
    warped = (1 - share) * sample["right"][:, rows, left_of] + share * sample["right"][:, rows, left_of + 1]
    return np.abs(warped - sample["left"][:, rows, columns]).mean()


@pytest.mark.parametrize("sample", list(SETS), indirect=True)
def test_the_right_picture_fits_the_left_one_best_by_the_disparity_as_read(sample):
    errors = {scale: _photometric(sample[1], scale) for scale in (-1, 0.25, 0.5, 1, 2)}
    best, second = sorted(errors.values())[:2]
    assert errors[1] == best < 0.8 * second, errors


@pytest.mark.parametrize("sample", list(SETS), indirect=True)
def test_real_files_have_the_size_the_range_and_the_known_share_that_were_measured(sample):
    (width, height), known, reach = FIGURES[sample[0]]
    fields = sample[1]
    assert fields["left"].shape == fields["right"].shape == (3, height, width)
    assert fields["valid"].mean() == pytest.approx(known, abs=5e-4)
    disparity = fields["disparity"][fields["valid"]]
    if reach:
        assert (disparity.min(), disparity.max()) == pytest.approx(reach, abs=5e-3)


@pytest.mark.parametrize("sample", ["middeval3"], indirect=True)
def test_motorcycle_has_its_occlusions_and_its_cameras(sample):
    fields = sample[1]
    assert fields["occluded"].mean() == pytest.approx(0.113, abs=5e-4)
    assert (fields["valid"] & ~fields["occluded"]).mean() == pytest.approx(0.866, abs=5e-4)
    assert fields["baseline"] == pytest.approx(0.193, abs=5e-4)


def test_the_right_picture_fits_a_mirrored_left_one_as_well(tmp_path):
    right = "FlyingThings3D/disparity/TRAIN/A/0032/right/0006.pfm"
    for place, file in {**THINGS, right: "sceneflow_sample/disparity_right/A-0032-0006.pfm"}.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).symlink_to(REAL / file)
    data = data_set("sceneflow", tmp_path, subsets=["flyingthings3d"], augment={"flip_horizontal": 1.0})
    mirrored = data.sample(0, np.random.default_rng(0))
    errors = {scale: _photometric(mirrored, scale) for scale in (-1, 0.25, 0.5, 1, 2)}
    best, second = sorted(errors.values())[:2]
    assert errors[1] == best < 0.8 * second, errors

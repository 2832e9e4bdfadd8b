"""Sets that store depth, in their layouts: what disparity follows from it, and where the camera is told."""

import json

import numpy as np
import pytest
from stereo_trees import codes, colours, data_set, names, npy, picture, text, values

from engine.errors import DamagedDataError, InputError


@pytest.fixture
def tartanair(tmp_path):
    for level, flight, number in (("Easy", "P000", "000000"), ("Easy", "P000", "000001"), ("Hard", "P001", "000000")):
        folder = tmp_path / "ocean" / "ocean" / level / flight
        picture(folder / "image_left" / f"{number}_left.png", 10)
        picture(folder / "image_right" / f"{number}_right.png", 20)
        npy(folder / "depth_left" / f"{number}_left_depth.npy", [[80, 40, 1, 10000], [np.inf, 0, np.nan, 16]])
    return tmp_path


def test_tartanair_has_80_px_at_one_metre(tartanair):
    data = data_set("tartanair", tartanair)
    assert names(data) == [
        ("ocean/ocean/Easy/P000/000000", "ocean"),
        ("ocean/ocean/Easy/P000/000001", "ocean"),
        ("ocean/ocean/Hard/P001/000000", "ocean"),
    ]
    sample = data.sample(1, None)
    assert colours(sample) == (10, 20)
    assert values(sample, "disparity") == [[1, 2, 80, np.float32(0.008)], [0, 0, 0, 5]]
    assert values(sample, "valid") == [[True] * 4, [False, False, False, True]]
    assert (sample["focal"], sample["baseline"], sample["doffs"]) == (320, 0.25, 0)


def test_tartanair_takes_one_difficulty(tartanair):
    assert names(data_set("tartanair", tartanair, difficulty="Hard")) == [("ocean/ocean/Hard/P001/000000", "ocean")]


@pytest.fixture
def fallingthings(tmp_path):
    for place in ("single/002_can/kitchen_0", "single/003_box/kitchen_0", "mixed/temple_1"):
        folder = tmp_path / place
        picture(folder / "000000.left.jpg", 10)
        picture(folder / "000000.right.jpg", 20)
        codes(folder / "000000.left.depth.png", [[0, 10000, 4609, 65535], [5000, 20000, 0, 0]], np.uint16)
        camera = {"name": "left", "intrinsic_settings": {"fx": 768.2, "fy": 768.2, "cx": 480, "cy": 270, "s": 0}}
        text(folder / "_camera_settings.json", json.dumps({"camera_settings": [camera]}))
    return tmp_path


def test_falling_things_has_depth_in_tenths_of_a_millimetre(fallingthings):
    data = data_set("fallingthings", fallingthings)
    assert names(data) == [
        ("single/002_can/kitchen_0/000000", "kitchen_0"),
        ("single/003_box/kitchen_0/000000", "kitchen_0"),
        ("mixed/temple_1/000000", "temple_1"),
    ]
    sample = data.sample(0, None)
    expected = [[0, 460920 / 10000, 460920 / 4609, 460920 / 65535], [460920 / 5000, 460920 / 20000, 0, 0]]
    assert np.allclose(values(sample, "disparity"), expected, rtol=1e-6)
    assert values(sample, "valid") == [[False, True, True, True], [True, True, False, False]]
    assert (sample["focal"], sample["baseline"]) == (np.float32(768.2), np.float32(0.06))
    assert names(data_set("fallingthings", fallingthings, subsets=["mixed"])) == [("mixed/temple_1/000000", "temple_1")]


def test_falling_things_takes_the_focal_length_of_the_folder(fallingthings):
    file = fallingthings / "mixed/temple_1/_camera_settings.json"
    text(file, file.read_text().replace('"fx": 768.2', '"fx": 384.1'))
    sample = data_set("fallingthings", fallingthings).sample(2, None)
    assert sample["disparity"][0, 0, 1] == np.float32(23.046)
    assert sample["focal"] == np.float32(384.1)
    file.unlink()
    assert data_set("fallingthings", fallingthings).sample(2, None)["focal"] == np.float32(768.2)
    text(fallingthings / "single/002_can/kitchen_0/_camera_settings.json", "{}")
    with pytest.raises(DamagedDataError, match="camera_settings"):
        data_set("fallingthings", fallingthings)


@pytest.fixture
def vkitti2(tmp_path):
    for variant in ("clone", "fog"):
        folder = tmp_path / "Scene01" / variant / "frames"
        for camera, value in (("Camera_0", 10), ("Camera_1", 20)):
            picture(folder / "rgb" / camera / "rgb_00000.jpg", value)
        codes(folder / "depth/Camera_0/depth_00000.png", [[65535, 100, 1000, 65534], [0, 386, 50, 25]], np.uint16)
    return tmp_path


def test_vkitti2_has_depth_in_centimetres_and_no_disparity_in_the_sky(vkitti2):
    data = data_set("vkitti2", vkitti2)
    assert names(data) == [("Scene01/clone/00000", "Scene01"), ("Scene01/fog/00000", "Scene01")]
    sample = data.sample(0, None)
    at_one_metre = 725.0087 * 0.532725
    expected = np.array([[0, 1, 0.1, 1 / 655.34], [0, 1 / 3.86, 2, 4]]) * at_one_metre
    assert np.allclose(values(sample, "disparity"), expected, rtol=1e-6)
    assert values(sample, "valid") == [[False, True, True, True], [False, True, True, True]]
    assert (sample["focal"], sample["baseline"]) == (np.float32(725.0087), np.float32(0.532725))
    assert colours(sample) == (10, 20)


@pytest.mark.parametrize("name", ["tartanair", "fallingthings", "vkitti2"])
def test_a_missing_partner_is_named_and_a_wrong_root_is_told_the_layout(name, request, tmp_path):
    root = request.getfixturevalue(name)
    wrong = {
        "tartanair": "'*/*/*/*/image_left/*_left.png'",
        "fallingthings": "'single/*/*/*.left.jpg'",
        "vkitti2": "'Scene*/*/frames/rgb/Camera_0/rgb_*.jpg'",
    }
    with pytest.raises(InputError) as told:
        data_set(name, root / "none")
    assert "there is no such folder" in str(told.value)
    assert wrong[name] in str(told.value)
    for what in ("right", "disparity"):
        gone = getattr(data_set(name, root).frames[0], what)
        content = gone.read_bytes()
        gone.unlink()
        with pytest.raises(InputError, match=f"{what} of .* is not there") as told:
            data_set(name, root)
        assert str(gone) in str(told.value)
        gone.write_bytes(content)

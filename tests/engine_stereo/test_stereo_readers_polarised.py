"""Sets with polarisation in their layouts: DPS-Net's two, HAMMER, and raw mosaics of one's own."""

import math

import numpy as np
import pytest
from stereo_trees import codes, colours, data_set, names, pfm, picture, text, values

from engine.errors import InputError, WorldError

DISPARITY = [[1.5, 2, 0, 40], [7.25, 8, 9, 10]]
JUDGED = [[255, 1, 255, 0], [255, 0, 1, 255]]


def polarised(path, dolp, degrees):
    """DPS-Net's file as an RGB reader sees it: red nothing, green AoLP, blue DoLP."""
    codes(path, np.broadcast_to((0, round(1e4 * math.radians(degrees)), round(1e4 * dolp)), (2, 4, 3)), np.uint16)


def is_constant(vector, dolp, degrees):
    angle = math.radians(2 * degrees)
    return np.allclose(vector, np.reshape((dolp * math.cos(angle), dolp * math.sin(angle)), (2, 1, 1)), atol=2e-4)


@pytest.fixture
def rps(tmp_path):
    for scene, number in (("Classroom", 1), ("Office1", 8), ("Office1", 35)):
        folder = tmp_path / "RPS" / scene
        picture(folder / f"l_{number}.png", 10)
        picture(folder / f"r_{number}.png", 20)
        polarised(folder / f"lpL_{number}.png", 0.5, 30)
        polarised(folder / f"lpR_{number}.png", 0.25, 120)
        codes(folder / f"v_{number}.png", JUDGED)
        pfm(folder / f"disp_{number}.pfm", DISPARITY)
    return tmp_path


@pytest.fixture
def ips(tmp_path):
    rooms = ("Home/ArchVizInterior03Data", "Home/ArchVizInterior03Data_Dark", "Office/OfficeData")
    for room in rooms:
        for number in (5, 6):
            picture(tmp_path / "IRS" / room / f"l_{number}.png", 10)
            picture(tmp_path / "IRS" / room / f"r_{number}.png", 20)
        polarised(tmp_path / "Render1/IRS" / room / "clpL_5.png", 0.5, 30)  # every fifth pair is rendered
        polarised(tmp_path / "Render1/IRS" / room / "clpR_5.png", 0.25, 120)
        codes(tmp_path / "Render/IRS" / room / "v_5.png", JUDGED)
        pfm(tmp_path / "Render/IRS" / room / "d_5.pfm", DISPARITY)
    return tmp_path


@pytest.mark.parametrize("name", ["ips", "rps"])
def test_a_pair_of_dps_net_has_its_disparity_and_the_polarisation_of_both_views(name, request):
    data = data_set(name, request.getfixturevalue(name))
    sample = data.sample(0, None)
    assert colours(sample) == (10, 20)
    assert values(sample, "valid") == [[True, True, True, False], [True, False, True, True]]
    assert values(sample, "disparity") == [[1.5, 2, 0, 0], [7.25, 0, 9, 10]]
    assert is_constant(sample["polarization_left"], 0.5, 30)
    assert is_constant(sample["polarization_right"], 0.25, 120)


def test_rps_has_a_camera_and_six_places(rps):
    data = data_set("rps", rps)
    expected = [("RPS/Classroom/1", "Classroom"), ("RPS/Office1/35", "Office1"), ("RPS/Office1/8", "Office1")]
    assert names(data) == expected
    sample = data.sample(0, None)
    assert (sample["focal"], sample["baseline"]) == (np.float32(1192.7164), np.float32(0.090886))


def test_ips_has_the_pairs_that_were_rendered_and_a_room_in_all_lights_is_one_scene(ips):
    assert names(data_set("ips", ips)) == [
        ("IRS/Home/ArchVizInterior03Data/5", "Home/ArchVizInterior03Data"),
        ("IRS/Home/ArchVizInterior03Data_Dark/5", "Home/ArchVizInterior03Data"),
        ("IRS/Office/OfficeData/5", "Office/OfficeData"),
    ]


def test_a_published_list_chooses_the_pairs(rps, ips):
    text(rps / "test.list", "RPS/Office1\t35\nRPS/Classroom\t1\n")
    assert [name for name, _ in names(data_set("rps", rps, split_file=rps / "test.list"))] == [
        "RPS/Office1/35",
        "RPS/Classroom/1",
    ]
    text(ips / "test.list", "IRS/Home/ArchVizInterior03Data_Dark\t5\n")
    chosen = data_set("ips", ips, split_file=ips / "test.list")
    assert [name for name, _ in names(chosen)] == ["IRS/Home/ArchVizInterior03Data_Dark/5"]


def test_a_list_of_other_pairs_is_refused(rps):
    text(rps / "ips.list", "IRS/Home/X\t35\nRPS/Classroom\t1\n")
    with pytest.raises(InputError, match="1 of its 2 pairs are not there: IRS/Home/X/35"):
        data_set("rps", rps, split_file=rps / "ips.list")
    text(rps / "ips.list", "\n")
    with pytest.raises(InputError, match="it is empty"):
        data_set("rps", rps, split_file=rps / "ips.list")
    with pytest.raises(WorldError, match=r"none\.list"):
        data_set("rps", rps, split_file=rps / "none.list")


@pytest.mark.parametrize(
    ("name", "gone", "told"),
    [
        ("rps", "RPS/Office1/lpR_8.png", "polarization of RPS/Office1/l_8.png is not there"),
        ("rps", "RPS/Office1/v_8.png", "valid of RPS/Office1/l_8.png is not there"),
        ("rps", "RPS/Office1/r_8.png", "right of RPS/Office1/l_8.png is not there"),
        ("ips", "Render1/IRS/Office/OfficeData/clpL_5.png", "polarization of IRS/Office/OfficeData/l_5.png"),
        ("ips", "IRS/Office/OfficeData/r_5.png", "right of IRS/Office/OfficeData/l_5.png is not there"),
    ],
)
def test_a_missing_partner_is_named(name, gone, told, request):
    root = request.getfixturevalue(name)
    (root / gone).unlink()
    with pytest.raises(InputError, match=told) as error:
        data_set(name, root)
    assert gone in str(error.value)


@pytest.fixture
def hammer(tmp_path):
    """Four tiles of 2 x 4 px, RGB of 8 bits: q = 0.25 and u = -0.1 everywhere."""
    tile = np.ones((2, 4, 3))
    rows = [np.concatenate([tile * 100, tile * 72], 1), np.concatenate([tile * 60, tile * 88], 1)]
    for scene in ("scene2_traj1_1", "scene2_traj2_1", "scene11_traj1_1", "scene13_traj1_naked"):
        codes(tmp_path / scene / "pol/000000.png", np.concatenate(rows))
        picture(tmp_path / scene / "rgb/000000.png", 10)
    return tmp_path


def test_hammer_is_one_view_of_four_tiles_without_disparity(hammer):
    data = data_set("hammer", hammer)
    assert names(data) == [
        ("scene11_traj1_1/000000", "scene11"),
        ("scene2_traj1_1/000000", "scene2"),
        ("scene2_traj2_1/000000", "scene2"),
    ]
    sample = data.sample(0, None)
    assert set(sample) == {"left", "polarization_left", "id", "scene"}
    assert np.allclose(sample["polarization_left"], np.reshape((0.25, -0.1), (2, 1, 1)), atol=1e-6)
    assert sample["polarization_left"].shape == (2, 2, 4)
    linear = 80 / 255
    assert np.allclose(sample["left"], 255 * (1.055 * linear ** (1 / 2.4) - 0.055), atol=1e-3)


def test_hammer_is_split_by_the_scenes_number_and_leaves_naked_scenes_out(hammer):
    for split, expected in (("train", {"scene2"}), ("val", {"scene11"})):
        assert set(dict(names(data_set("hammer", hammer, split=split))).values()) == expected
    with pytest.raises(InputError, match="the pictures are not there"):
        data_set("hammer", hammer, split="test")
    assert names(data_set("hammer", hammer, split="test", naked=True)) == [("scene13_traj1_naked/000000", "scene13")]


def mosaic(path, cell):
    codes(path, np.tile(cell, (8 // len(cell), 8 // len(cell))), np.uint16)


@pytest.fixture
def mosaics(tmp_path):
    mono = [[15000, 18000], [22000, 25000]]  # 90 45 / 135 0
    gains = np.kron([[2, 1], [1, 0.5]], np.ones((2, 2)))  # R G / G B
    for number in ("1", "2"):
        mosaic(tmp_path / f"left/{number}.png", mono)
        mosaic(tmp_path / f"right/{number}.png", np.transpose(mono))
        mosaic(tmp_path / f"colour/{number}.png", np.tile(mono, (2, 2)) * gains)
    return tmp_path


def test_raw_mosaics_become_pictures_and_polarisation(mosaics):
    data = data_set("dofp", mosaics, right="right/*.png")
    assert names(data) == [("left/1", "left/1"), ("left/2", "left/2")]
    sample = data.sample(1, None)
    assert set(sample) == {"left", "right", "polarization_left", "polarization_right", "id", "scene"}
    assert sample["left"].shape == (3, 8, 8)
    assert np.allclose(sample["polarization_left"], np.reshape((0.25, -0.1), (2, 1, 1)), atol=1e-6)
    assert np.allclose(sample["polarization_right"], np.reshape((0.25, 0.1), (2, 1, 1)), atol=1e-6)
    assert sample["left"].std() < 1e-3  # no trace of the cells is left


def test_raw_mosaics_of_one_camera_and_in_colour(mosaics):
    options = {"left": "colour/*.png", "colour": True, "polarimetry": {"mosaic": "decimate"}}
    sample = data_set("dofp", mosaics, **options).sample(0, None)
    assert set(sample) == {"left", "polarization_left", "id", "scene"}
    assert sample["left"].shape == (3, 2, 2)
    assert np.allclose(sample["polarization_left"], np.reshape((0.25, -0.1), (2, 1, 1)), atol=1e-6)
    red, green, blue = sample["left"][:, 0, 0]
    assert red > green > blue > 0


def test_raw_mosaics_that_cannot_be_paired_are_refused(mosaics):
    with pytest.raises(InputError, match="with 0 stars"):
        data_set("dofp", mosaics, right="right/1.png")
    (mosaics / "right/2.png").unlink()
    with pytest.raises(InputError, match=r"right of left/2\.png is not there"):
        data_set("dofp", mosaics, right="right/*.png")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ips", "'Render/IRS/**/d_*.pfm'"),
        ("rps", "'RPS/*/disp_*.pfm'"),
        ("hammer", "'*/pol/*.png'"),
        ("dofp", "'left/*.png'"),
    ],
)
def test_a_wrong_root_is_told_the_layout(name, expected, tmp_path):
    with pytest.raises(InputError) as told:
        data_set(name, tmp_path)
    assert "the pictures are not there" in str(told.value)
    assert expected in str(told.value)

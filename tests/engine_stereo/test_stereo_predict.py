"""`engine predict` on real and drawn pairs: every file is read back, and the seams between bands are measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
from conftest import Command
from engine_stereo.data.encodings import PRESETS, read_disparity
from engine_stereo.data.images import write_image, write_png
from numpy.typing import NDArray

Figures = NDArray[np.float32]
Write = Callable[..., Path]

SHIPPED = Path(skimage.__file__).parent / "data"
LEFT, RIGHT = SHIPPED / "motorcycle_left.png", SHIPPED / "motorcycle_right.png"
CAMERA = ("--focal", "994.978", "--baseline", "0.193001", "--doffs", "31.086")
SGBM = 'name = "sgbm"\nmodel = { plugin = "sgbm", num_disparities = 80 }\ndata.val = { plugin = "motorcycle" }\n'
POLARISED = """
name = "polarised"
model = { plugin = "sgbm", num_disparities = 16 }
injection = { plugin = "polarization", max_correction = 2.0, width = 4, dilations = [1] }
data.val = { plugin = "motorcycle" }
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(name, text): a recipe in the test's folder."""

    def written(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


def ply(path: Path) -> tuple[Figures, NDArray[np.uint8]]:
    """Points and colours of a binary PLY of x, y, z, red, green, blue."""
    header, body = path.read_bytes().split(b"end_header\n", 1)
    assert b"format binary_little_endian 1.0" in header
    vertices = np.frombuffer(body, np.dtype([("place", "<f4", 3), ("colour", "u1", 3)]))
    assert f"element vertex {len(vertices)}\n".encode() in header
    return vertices["place"], vertices["colour"]


def moved(folder: Path, name: str, shift: int, height: int = 48, width: int = 80) -> None:
    """A pair whose right picture is the left one, `shift` px further left."""
    texture = np.random.default_rng(len(name)).uniform(0, 255, (3, height, width + shift))
    write_image(folder / f"{name}_left.png", texture[..., :width])
    write_image(folder / f"{name}_right.png", texture[..., shift:])


def test_opencv_reads_back_what_was_answered_to_the_motorcycle(engine: Command, write: Write, tmp_path: Path) -> None:
    recipe = write("sgbm.toml", SGBM)
    done = engine("predict", recipe, LEFT, RIGHT, *CAMERA, "--out", "made", "--json")
    assert done.code == 0, done.err
    made = tmp_path / "made" / "motorcycle_left"
    assert {file.name for file in made.iterdir()} == {
        *("about.json", "disparity.pfm", "disparity.png", "disparity_colour.png", "confidence.png", "cloud.ply"),
    }, "the matcher tells no occlusion, and nothing corrects it"

    disparity, known = read_disparity(made / "disparity.pfm", PRESETS["middlebury"])
    assert known.all()
    truth = np.load(SHIPPED / "motorcycle_disp.npz")["arr_0"]
    seen = np.isfinite(truth)
    assert np.median(np.abs(disparity - truth)[seen]) == pytest.approx(0.20, abs=0.05)  # as docs/data.md tells

    by_opencv = cv2.imread(str(made / "disparity.pfm"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(by_opencv, disparity)
    stored = cv2.imread(str(made / "disparity.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, np.maximum(np.rint(disparity * 256), 1))
    confidence = cv2.imread(str(made / "confidence.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(confidence)) == {0, 255}
    colour = cv2.imread(str(made / "disparity_colour.png"))
    assert colour.shape == (500, 741, 3)
    low, high = json.loads((made / "about.json").read_text())["disparity_colours_px"]
    assert colour[disparity <= low][0].tolist() == [84, 1, 68]  # viridis begins dark and ends bright
    assert colour[disparity >= high][0].tolist() == [37, 231, 253]

    place, colours = ply(made / "cloud.ply")
    rows, columns = np.nonzero(confidence)
    depth = 994.978 * 0.193001 / (disparity[rows, columns] + 31.086)
    np.testing.assert_allclose(place[:, 2], depth, rtol=1e-5)
    np.testing.assert_allclose(place[:, 0], (columns - 370.0) * depth / 994.978, atol=1e-4)
    np.testing.assert_allclose(place[:, 1], (rows - 249.5) * depth / 994.978, atol=1e-4)
    np.testing.assert_array_equal(colours, cv2.imread(str(LEFT))[rows, columns, ::-1])


def test_bands_meet_within_a_tenth_of_a_pixel_in_the_mean(engine: Command, write: Write, tmp_path: Path) -> None:
    recipe = write("sgbm.toml", SGBM)
    for out, bands in (("whole", ()), ("bands", ("--tile", "200", "--overlap", "80"))):
        assert engine("predict", recipe, LEFT, RIGHT, "--out", out, *bands).code == 0
    whole, bands = (
        read_disparity(tmp_path / out / "motorcycle_left" / "disparity.pfm", PRESETS["middlebury"])[0]
        for out in ("whole", "bands")
    )
    seams = np.abs(bands - whole)
    print(f"seam error: mean {seams.mean():.4f} px, {(seams > 1).mean():.4%} of pixels above 1 px")
    assert 0 < seams.mean() < 0.1


def test_folders_and_patterns_give_a_folder_a_pair(engine: Command, write: Write, tmp_path: Path) -> None:
    recipe = write("sgbm.toml", SGBM)
    for scene in ("kitchen", "yard"):
        (tmp_path / scene).mkdir()
        for name, height in (("1", 48), ("2", 51)):
            moved(tmp_path / scene, name, 7, height)
    near = ("--set", "model.num_disparities=16")
    done = engine("predict", recipe, "*/*_left.png", "*/*_right.png", "--out", "made", "--json", *near)
    assert done.code == 0, done.err
    told = json.loads(done.out)["predictions"]
    assert [(each["id"], each["height"]) for each in told] == [
        ("kitchen/1_left", 48),
        ("kitchen/2_left", 51),
        ("yard/1_left", 48),
        ("yard/2_left", 51),
    ]
    for each in told:
        disparity, _ = read_disparity(tmp_path / "made" / each["id"] / "disparity.pfm", PRESETS["middlebury"])
        assert np.median(disparity) == 7

    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        (tmp_path / "yard" / f"1_{side}.png").rename(tmp_path / side / "1.png")
    assert engine("predict", recipe, "left", "right/", "--out", "folders", *near).code == 0
    assert (tmp_path / "folders" / "1" / "disparity.png").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a_left.png", "b_right.png"], "RIGHT: 'right' is 'b_right.png': this file is not there"),
        (["a_left.png"], "1 arguments: a_left.png; expected 2, LEFT RIGHT"),
        (["a_left.png", "a_right.png", "b.png", "c.png"], "put a pattern with stars into quotes"),
        (["*_left.png", "a_right.png", "--pol", "a_left.png"], "--pol: --layout is missing"),
        (["a_left.png", "a_right.png", "--layout", "tiles"], "--layout: --pol is missing"),
        (
            ["a_left.png", "a_right.png", "--pol", "a_left.png", "a_right.png", "--layout", "tile"],
            "--layout: there is no",
        ),
        (["a_left.png", "a_right.png", "--pol", "a_left.png", "--layout", "tiles"], "--pol: 1 files"),
        (["a_left.png", "a_right.png", "--focal", "100"], "--focal: 'focal' without 'baseline'"),
        (["a_left.png", "a_right.png", "--calibration", "calib.txt"], "--calibration"),
        ([".", "."], "LEFT: the folder . has pictures of 2 kinds: .jpg, .png"),
        (["none", "none"], "LEFT: the folder none has pictures of 0 kinds"),
    ],
)
def test_a_mistake_is_told_by_argument_and_flag(
    engine: Command, write: Write, tmp_path: Path, words: list[str], told: str
) -> None:
    moved(tmp_path, "a", 3)
    (tmp_path / "x.jpg").write_bytes(b"")
    (tmp_path / "none").mkdir()
    done = engine("predict", write("sgbm.toml", SGBM), *words)
    assert done.code == 2, done.out
    assert told in done.err


def test_polarisation_is_read_and_the_correction_written(engine: Command, write: Write, tmp_path: Path) -> None:
    recipe = write("polarised.toml", POLARISED)
    moved(tmp_path, "a", 5)
    for side in ("left", "right"):
        stored = np.zeros((48, 80, 3), np.uint16)
        stored[..., 2], stored[..., 1] = 3000, 7854  # DoLP 0.3 at 45 degrees
        write_png(tmp_path / f"{side}_pol.png", stored)
    pair = ("a_left.png", "a_right.png")
    polarised = ("--pol", "left_pol.png", "right_pol.png", "--layout", "dolp_aolp")
    done = engine("predict", recipe, *pair, *polarised, "--out", "made", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["predictions"][0]["corrected"]
    made = tmp_path / "made" / "a_left"
    correction = cv2.imread(str(made / "correction.pfm"), cv2.IMREAD_UNCHANGED)
    assert correction.shape == (48, 80)
    assert not correction.any(), "a fresh correction is 0"
    assert (cv2.imread(str(made / "correction_colour.png")) > 240).all()

    done = engine("predict", recipe, *pair, "--out", "alone")
    assert "the base alone, without an auxiliary signal" in done.out
    assert not (tmp_path / "alone/a_left/correction.pfm").exists()

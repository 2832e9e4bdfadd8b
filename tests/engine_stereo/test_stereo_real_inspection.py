"""Real and rendered pairs are right as they are, and each mistake in them is found; files from ENGINE_SHARED_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from engine_stereo.data.encodings import PRESETS, read_disparity
from engine_stereo.data.images import read_image
from engine_stereo.data.inspect_photometry import compare
from engine_stereo.data.inspection import StereoInspection
from engine_stereo.options import StereoInspectionOptions

REAL = Path(os.environ["ENGINE_SHARED_DATA"])
KITTI = "kitti2015/training"
THINGS = "sceneflow_sample"
FILES = {
    "motorcycle": (*[f"middlebury2014_Q/Motorcycle/{n}" for n in ("im0.png", "im1.png", "disp0GT.pfm")], "middlebury"),
    "kitti": (*[f"{KITTI}/{n}/000046_10.png" for n in ("image_2", "image_3", "disp_occ_0")], "kitti"),
    "aloe": (*[f"middlebury2006_aloe/{n}" for n in ("aloeL.jpg", "aloeR.jpg", "aloeGT.png")], "middlebury2006"),
    "things": (*[f"{THINGS}/{n}/A-0032-0006.*" for n in ("left", "right", "disparity_left")], "sceneflow"),
}
RENDERED = sorted((REAL / "rendered").glob("*.npz"))


def real(name):
    left, right, disparity, encoding = FILES[name]
    left, right, disparity = (next(REAL.glob(pattern)) for pattern in (left, right, disparity))
    return read_image(left), read_image(right), *read_disparity(disparity, PRESETS[encoding])


def rendered(file):
    with np.load(file) as pair:
        view = {side: pair[f"s0_{side}"].transpose(2, 0, 1).astype(np.float32) for side in "LR"}
        qu = {side: pair[f"qu_{side}"].transpose(2, 0, 1).astype(np.float32) / 127 for side in "LR"}
        disparity, valid = pair["disparity"][None].astype(np.float32) / 256, pair["valid"][None]
    fields = {"left": view["L"], "right": view["R"], "disparity": disparity, "valid": valid, "id": file.stem}
    return {**fields, "polarization_left": qu["L"], "polarization_right": qu["R"], "scene": file.stem}


def inspected(samples):
    inspection = StereoInspection(StereoInspectionOptions())
    for index, sample in enumerate(samples):
        inspection.look(sample, index, samples)
    return inspection.findings()


@pytest.mark.parametrize("name", FILES)
def test_a_real_pair_fits_as_it_is_stored(name):
    assert compare(*real(name)).verdict == "fits"


@pytest.mark.parametrize("repair", [2.0, 0.5, 4.0, -1.0, 1 / 256, 0.77])
@pytest.mark.parametrize("name", FILES)
def test_a_real_pair_whose_disparity_is_altered_is_found(name, repair):
    left, right, disparity, valid = real(name)
    found = compare(left, right, disparity / np.float32(repair), valid)
    assert found.verdict == "wrong"
    assert found.best.scale == pytest.approx(repair, rel=0.02)
    assert not found.best.exchanged


@pytest.mark.parametrize("name", FILES)
def test_real_views_that_are_exchanged_are_found(name):
    left, right, disparity, valid = real(name)
    found = compare(right, left, disparity, valid)
    assert (found.verdict, found.best.exchanged, found.best.scale) == ("wrong", True, 1)


def test_rendered_pairs_with_glass_fit_and_their_views_agree():
    assert RENDERED
    assert [finding.level for finding in inspected([rendered(file) for file in RENDERED])] == ["note"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {**s, "polarization_right": s["polarization_right"] * [[[1]], [[-1]]]}, "with u negated"),
        (lambda s: {**s, "polarization_right": -s["polarization_right"]}, "turned by"),
        (lambda s: {**s, "disparity": -s["disparity"]}, "wrong sign"),
        (lambda s: {**s, "disparity": s["disparity"] / 2}, "half as large"),
        (lambda s: {**s, "left": s["right"], "right": s["left"]}, "pictures are exchanged"),
        (lambda s: {**s, "left": s["left"] / 255, "right": s["right"] / 255}, "look like 0 to 1"),
    ],
)
def test_mistakes_in_rendered_pairs_are_found(change, words):
    findings = inspected([change(rendered(file)) for file in RENDERED[::8]])
    assert [finding.level for finding in findings if words in finding.what] == ["error"]

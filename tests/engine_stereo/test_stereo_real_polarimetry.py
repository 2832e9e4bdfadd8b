"""Polarimetry on real files, which the environment variable ENGINE_SHARED_DATA names the folder of."""

import os
from pathlib import Path

import numpy as np
import pytest
from engine_stereo.data.options import PolarimetryOptions
from engine_stereo.data.polarimetry import intensities, read
from stereo_trees import data_set

REAL = Path(os.environ["ENGINE_SHARED_DATA"]) / "polar"
MOSAIC = "dofp_mono", [REAL / "dofp_raw/IMG_0287.png"]
GLASS, LIQUID = (
    ("angles", [REAL / f"nir_{name}/{name}_nir_{angle}.png" for angle in (0, 45, 90, 135)])
    for name in ("glass", "liquid")
)
DECIMATED = PolarimetryOptions(mosaic="decimate")


# The figures that the folder's README gives, which somebody else measured; two or three digits of each.
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (MOSAIC, (0.0559, 0.141, 0.242)),
        (GLASS, (0.0086, 0.1195, 0.1025)),
        (LIQUID, (0.0171, 0.0651, 0.1645)),
    ],
)
def test_the_right_pairing_is_the_most_redundant(files, expected):
    assert intensities(*files, DECIMATED).redundancy() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("files", "median", "high", "clipped"),
    [(MOSAIC, 0.161, 0.536, 0), (GLASS, 0.104, 0.229, 0.016), (LIQUID, 0.192, 0.419, 0.014)],
)
def test_the_degree_of_polarisation_is_as_measured(files, median, high, clipped):
    found = intensities(*files, DECIMATED)
    i0, i45, i90, i135 = found.luminance()
    s0 = (i0 + i45 + i90 + i135) / 2
    degree = np.hypot(i0 - i90, i45 - i135) / np.where(s0 > 0, s0, 1)
    assert np.quantile(degree, (0.5, 0.95)) == pytest.approx((median, high), rel=0.02)
    assert (~found.told).mean() == pytest.approx(clipped, abs=5e-4)
    vector, told = read(*files, DECIMATED)
    assert np.allclose(np.hypot(*vector), np.where(told, degree, 0), atol=1e-5)


def test_interpolation_lays_the_four_angles_over_each_other():
    shares = [intensities(*MOSAIC, PolarimetryOptions(mosaic=how)).redundancy() for how in ("decimate", "interpolate")]
    assert shares[1].as_stated < 0.8 * shares[0].as_stated


def test_the_reader_of_mosaics_gives_the_scene_and_its_polarisation():
    data = data_set("dofp", REAL, left="dofp_raw/*.png", polarimetry={"mosaic": "decimate"})
    sample = data.sample(0, None)
    assert (sample["id"], sample["left"].shape) == ("dofp_raw/IMG_0287", (3, 600, 640))
    assert np.quantile(np.hypot(*sample["polarization_left"]), (0.5, 0.95)) == pytest.approx((0.161, 0.536), rel=0.02)

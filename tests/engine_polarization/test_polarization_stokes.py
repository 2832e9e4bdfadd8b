import math
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_polarization.stokes import angle_difference, aolp, dolp, flip, normalised, redundancy, rotate, stokes
from hypothesis import given, settings
from hypothesis import strategies as st

REAL = Path(__file__).parents[2].parent / "shared/data/polar"
ANGLES = st.floats(-10, 10)
DEGREES = st.floats(0.05, 1)


def _intensities(light: float, degree: float, phi: float) -> list[torch.Tensor]:
    """Malus' law behind a polariser at 0, 45, 90 and 135 degrees."""
    turns = torch.tensor([0, 45, 90, 135], dtype=torch.float64).deg2rad()
    return list((light / 2 * (1 + degree * torch.cos(2 * turns - 2 * phi))).reshape(4, 1, 1))


def _qu(degree: float, phi: float) -> torch.Tensor:
    return degree * torch.tensor([math.cos(2 * phi), math.sin(2 * phi)], dtype=torch.float64).reshape(2, 1, 1)


def _same_direction(a: float, b: float) -> bool:
    return abs(math.remainder(a - b, math.pi)) < 1e-6


@settings(deadline=None, max_examples=40)
@given(st.floats(0.01, 1e4), DEGREES, ANGLES)
def test_the_four_angles_give_back_degree_and_direction(light, degree, phi):
    four = _intensities(light, degree, phi)
    s0, s1, s2 = stokes(*four)
    assert s0.item() == pytest.approx(light)
    qu = normalised(s0, s1, s2)
    assert torch.allclose(qu, _qu(degree, phi), atol=1e-9)
    assert dolp(qu).item() == pytest.approx(degree)
    assert 0 <= aolp(qu).item() < math.pi
    assert _same_direction(aolp(qu).item(), phi)
    assert redundancy(*four) == pytest.approx(0, abs=1e-12)


def test_darkness_has_no_polarisation():
    zero = torch.zeros(2, 2)
    assert (normalised(zero, zero, zero) == 0).all()
    with pytest.raises(ValueError, match="no pixel with light"):
        redundancy(zero, zero, zero, zero)


def test_a_direction_just_below_zero_stays_inside_the_half_open_range():
    angle = aolp(torch.tensor([1.0, -1e-9]).reshape(2, 1, 1))
    assert 0 <= angle.item() < math.pi


@settings(deadline=None, max_examples=40)
@given(DEGREES, ANGLES, ANGLES)
def test_rotation_turns_the_direction_and_keeps_the_degree(degree, phi, theta):
    turned = rotate(_qu(degree, phi), theta)
    assert dolp(turned).item() == pytest.approx(degree)
    assert _same_direction(aolp(turned).item(), phi + theta)
    assert torch.allclose(rotate(_qu(degree, phi), math.pi / 2), -_qu(degree, phi), atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(DEGREES, ANGLES, st.sampled_from(["horizontal", "vertical"]))
def test_a_mirror_takes_the_direction_to_its_supplement(degree, phi, axis):
    mirrored = flip(_qu(degree, phi), axis)
    assert _same_direction(aolp(mirrored).item(), math.pi - phi)


@pytest.mark.parametrize(("axis", "dimension"), [("horizontal", -1), ("vertical", -2)])
def test_a_mirror_moves_the_pixels_and_is_its_own_inverse(axis, dimension):
    qu = torch.randn(3, 2, 4, 5)
    assert torch.equal(flip(flip(qu, axis), axis), qu)
    assert torch.equal(flip(qu, axis)[:, 0], qu[:, 0].flip(dimension))
    assert torch.equal(flip(qu, axis)[:, 1], -qu[:, 1].flip(dimension))


@settings(deadline=None, max_examples=40)
@given(DEGREES, DEGREES, ANGLES, st.floats(-1.5, 1.5))
def test_the_angle_difference_is_the_shortest_turn(degree, other, phi, turn):
    assert angle_difference(_qu(degree, phi + turn), _qu(other, phi)).item() == pytest.approx(turn, abs=1e-6)


def test_the_angle_difference_crosses_180_degrees_without_a_jump():
    one, almost = _qu(1, math.radians(1)), _qu(1, math.radians(179))
    assert angle_difference(one, almost).item() == pytest.approx(math.radians(2))
    assert angle_difference(one, torch.zeros_like(one)).item() == 0


def _real_angles(name: str) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Intensities at 0, 45, 90 and 135 degrees, and the pixels that are neither dark nor clipped."""
    cv2 = pytest.importorskip("cv2", reason="16 bit pictures are read with OpenCV")
    if name == "dofp_raw":
        raw = cv2.imread(str(next((REAL / name).glob("*.png"))), cv2.IMREAD_UNCHANGED)
        pictures = [raw[1::2, 1::2], raw[0::2, 1::2], raw[0::2, 0::2], raw[1::2, 0::2]]
    else:
        files = {int("".join(filter(str.isdigit, file.stem.split("_")[-1]))): file for file in _files(name)}
        pictures = [cv2.imread(str(files[angle]), cv2.IMREAD_UNCHANGED) for angle in (0, 45, 90, 135)]
    stack = np.stack(pictures).astype(np.float32)
    usable = torch.from_numpy(((stack >= 50) & (stack <= 65000)).all(0))
    return [torch.from_numpy(picture) for picture in stack], usable


def _files(name: str) -> list[Path]:
    return sorted((REAL / name).glob("*.png"))


@pytest.mark.skipif(not REAL.is_dir(), reason="real polarimetric pictures are not at hand")
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [("dofp_raw", 0.056, (0.141, 0.242)), ("nir_glass", 0.0086, (0.120, 0.103)), ("nir_liquid", 0.017, (0.065, 0.165))],
)
def test_redundancy_finds_the_right_pairing_of_real_pictures(name, right, wrong):
    (i0, i45, i90, i135), usable = _real_angles(name)
    assert redundancy(i0, i45, i90, i135, usable) == pytest.approx(right, rel=0.06)
    others = [redundancy(i0, i90, i45, i135, usable), redundancy(i0, i45, i135, i90, usable)]
    assert sorted(others) == pytest.approx(sorted(wrong), rel=0.06)

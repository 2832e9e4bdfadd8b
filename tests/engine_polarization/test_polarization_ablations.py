"""What the correction is shown in place of the polarisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_polarization.ablations import mask_only, rotated
from engine_polarization.stokes import aolp, dolp

WEAK, STRONG = (0.02, 0.01), (0.3, -0.4)


def sample() -> dict[str, np.ndarray]:
    left = np.zeros((2, 4, 6), np.float32)
    left[:] = np.array(WEAK, np.float32)[:, None, None]
    left[:, 1:3, 2:5] = np.array(STRONG, np.float32)[:, None, None]
    return {"polarization_left": left, "polarization_right": np.roll(left, -2, axis=2)}


def test_rotated_turns_every_angle_by_45_degrees_and_keeps_every_strength() -> None:
    for name, turned in rotated(sample()).items():
        before, after = torch.tensor(sample()[name]), torch.tensor(turned)
        assert torch.allclose(dolp(after), dolp(before))
        turn = torch.rad2deg(aolp(after) - aolp(before)) % 180
        assert torch.allclose(turn, torch.full_like(turn, 45.0), atol=1e-3)


def test_mask_only_leaves_the_outline_of_what_is_polarised() -> None:
    for name, left in mask_only(sample()).items():
        inside = np.hypot(*sample()[name]) > 0.1
        assert left.dtype == np.float32
        assert left[0][inside] == pytest.approx(0.5)
        assert not left[0][~inside].any()
        assert not left[1].any()


def test_mask_only_of_a_scene_without_polarisation_is_nothing() -> None:
    blank = {name: np.zeros((2, 4, 6), np.float32) for name in sample()}
    assert not any(values.any() for values in mask_only(blank).values())

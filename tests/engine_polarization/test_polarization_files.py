"""Polarisation read from files follows the conventions of the polarisation plugin."""

import numpy as np
import pytest
import torch
from engine_polarization import stokes
from engine_stereo.data import polarimetry
from engine_stereo.data.images import write_png


@pytest.fixture
def four():
    """Four pictures with light everywhere, in units of a full 16-bit sensor."""
    return np.random.default_rng(0).integers(2000, 60000, (4, 6, 8)).astype(np.uint16)


def test_q_and_u_are_those_of_the_stokes_parameters(four, tmp_path):
    files = [tmp_path / f"{angle}.png" for angle in polarimetry.ANGLES]
    for path, picture in zip(files, four, strict=True):
        write_png(path, picture)
    vector, told = polarimetry.read("angles", files)
    assert told.all()
    expected = stokes.normalised(*stokes.stokes(*torch.from_numpy(four.astype(np.float64))))
    assert np.allclose(vector, expected, atol=1e-6)


def test_redundancy_is_the_same_figure(four):
    told = four.min(0) > 10000
    expected = stokes.redundancy(*torch.from_numpy(four.astype(np.float64)), torch.from_numpy(told))
    assert polarimetry.redundancy(*four, told).as_stated == pytest.approx(expected)


@pytest.mark.parametrize("turn", [0.3, -1.2])
def test_a_turn_is_the_same_rotation(four, turn):
    vector = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 6, 8))
    expected = stokes.rotate(torch.from_numpy(vector), turn)
    assert np.allclose(polarimetry.oriented(vector, turn=turn), expected, atol=1e-6)


def test_dolp_and_aolp_files_give_them_back(tmp_path):
    random = np.random.default_rng(2)
    stored = np.zeros((6, 8, 3), np.uint16)
    stored[..., 2] = random.integers(1, 10000, (6, 8))
    stored[..., 1] = random.integers(0, 31415, (6, 8))
    write_png(tmp_path / "clp.png", stored)
    vector, told = polarimetry.read("dolp_aolp", [tmp_path / "clp.png"])
    assert told.all()
    qu = torch.from_numpy(vector)
    assert np.allclose(stokes.dolp(qu)[0], stored[..., 2] / 1e4, atol=1e-6)
    turned = stokes.aolp(qu)[0].numpy() - stored[..., 1] / 1e4
    assert np.allclose(np.sin(turned), 0, atol=1e-3)

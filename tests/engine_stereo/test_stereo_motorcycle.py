import importlib.util

import numpy as np
import pytest
import torch
from engine_polarization.warp import warp
from engine_stereo import motorcycle
from engine_stereo.motorcycle import Motorcycle
from engine_stereo.options import MotorcycleOptions

from engine.errors import WorldError

pytest.importorskip("skimage", reason="the pair comes with scikit-image")


@pytest.fixture(scope="module", params=[1.0, 0.4])
def sample(request):
    return Motorcycle(MotorcycleOptions(scale=request.param)).sample(0, None)


def _photometric(sample, factor: float) -> float:
    left, right, truth = (torch.from_numpy(sample[name])[None] for name in ("left", "right", "disparity"))
    warped, inside = warp(right, factor * truth)
    judged = inside & torch.from_numpy(sample["valid"])[None]
    return (warped - left).abs().mean(1, keepdim=True)[judged].mean().item()


def test_the_pair_has_the_shapes_and_ranges_it_promises():
    sample = Motorcycle(MotorcycleOptions()).sample(0, None)
    assert sample["left"].shape == sample["right"].shape == (3, 500, 741)
    assert sample["left"].dtype == np.float32
    assert 200 < sample["left"].max() <= 255
    assert sample["disparity"].shape == sample["valid"].shape == (1, 500, 741)
    assert np.isfinite(sample["disparity"]).all()
    known = sample["disparity"][sample["valid"]]
    assert (round(float(known.min()), 1), round(float(known.max()), 1)) == (7.2, 59.9)
    assert 1 - sample["valid"].mean() == pytest.approx(0.0735, abs=0.001)


def test_scaling_scales_the_disparity_with_the_width():
    full, small = (Motorcycle(MotorcycleOptions(scale=scale)).sample(0, None) for scale in (1.0, 0.4))
    assert small["left"].shape == (3, 200, 296)
    ratio = np.median(small["disparity"][small["valid"]]) / np.median(full["disparity"][full["valid"]])
    assert ratio == pytest.approx(296 / 741, rel=0.01)


def test_the_true_disparity_explains_the_left_picture_best(sample):
    right = _photometric(sample, 1.0)
    assert all(right < 0.5 * _photometric(sample, wrong) for wrong in (-1.0, 2.0, 0.5))


def test_there_is_one_example():
    data = Motorcycle(MotorcycleOptions())
    assert len(data) == 1
    with pytest.raises(IndexError):
        data.sample(1, None)


def test_without_scikit_image_it_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(motorcycle, "find_spec", lambda name: None if name == "skimage" else find(name))
    with pytest.raises(WorldError, match=r'pip install "experiment-engine\[stereo\]"'):
        Motorcycle(MotorcycleOptions()).sample(0, None)

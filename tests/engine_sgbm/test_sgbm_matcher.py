"""OpenCV's matcher on pairs whose disparity is known, and the background in its holes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from engine_sgbm.matcher import SGBM, background_filled
from engine_sgbm.options import SGBMOptions
from pydantic import ValidationError
from sgbm_plugin import PairOptions, Pairs

from engine import plugins, testing
from engine.errors import WorldError
from engine.prediction import Batch


def batch_of(*indices: int) -> Batch:
    pairs = Pairs(PairOptions())
    samples = [pairs.sample(index, None) for index in indices]
    return {
        name: torch.from_numpy(np.stack([sample[name] for sample in samples]))
        for name in ("left", "right", "disparity")
    }


@pytest.mark.parametrize(
    "promise", testing.model("sgbm", {"num_disparities": 32}, batch=lambda: batch_of(0, 1)), ids=str
)
def test_it_keeps_its_promises(promise: testing.Check) -> None:
    promise()


def test_it_finds_the_disparity_of_a_shifted_texture_and_says_where_it_guessed() -> None:
    batch = batch_of(0, 1)
    prediction = SGBM(SGBMOptions(num_disparities=32))(batch)
    error = (prediction.value - batch["disparity"]).abs()
    assert prediction.confidence is not None
    assert prediction.value.shape == prediction.confidence.shape == (2, 1, 48, 96)
    matched = prediction.confidence == 1
    assert matched[..., 32:].float().mean() > 0.8
    assert not matched[..., :16].any(), "columns without a partner for every disparity cannot be matched"
    assert error[matched].median() < 0.1
    assert error.isfinite().all()


def test_a_sample_is_answered_alike_alone_and_in_a_batch() -> None:
    model = SGBM(SGBMOptions(num_disparities=32))
    assert torch.equal(model(batch_of(0, 1)).value[1:], model(batch_of(1)).value)


def test_holes_take_the_farther_of_their_neighbours_in_the_row() -> None:
    disparity = np.array([[-1, 5, -1, 3, -1, 4, -1], [-1] * 7], np.float32)
    filled = background_filled(disparity, disparity >= 0, farthest=2)
    assert filled.tolist() == [[2, 5, 3, 3, 3, 4, 4], [2] * 7]


@pytest.mark.parametrize(("width", "searched"), [(741, 96), (1242, 160), (960, 128), (64, 16), (16, 16)])
def test_it_looks_for_an_eighth_of_the_width_by_default(width: int, searched: int) -> None:
    assert SGBMOptions().searched(width) == searched


def test_the_engine_knows_how_far_it_reaches() -> None:
    registered = plugins.load().get("models", "sgbm")
    assert registered.reach(SGBMOptions(min_disparity=-16), (500, 741)) == (-16, 79)


@pytest.mark.parametrize("wrong", [{"block_size": 4}, {"num_disparities": 40}, {"p1": 10, "p2": 10}])
def test_settings_that_opencv_would_refuse_or_misread_are_refused_before(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        SGBMOptions(**wrong)


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(WorldError, match=r"experiment-engine\[opencv\]"):
        SGBM(SGBMOptions())

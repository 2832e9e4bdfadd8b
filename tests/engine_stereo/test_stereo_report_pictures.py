"""What the report shows of a stereo pair and its polarisation: one scale whatever the system answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from engine_polarization.options import ReportPicturesOptions as PolarizationOptions
from engine_polarization.report_pictures import PolarizationPictures
from engine_stereo.options import ReportPicturesOptions
from engine_stereo.pictures import disparity_picture, error_picture
from engine_stereo.report_pictures import DisparityPictures

from engine.contracts import Picture
from engine.prediction import Prediction


def batch(**without: None) -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(0)
    shape = (1, 1, 6, 8)
    made = {
        "left": 255 * torch.rand(1, 3, 6, 8, generator=numbers),
        "right": 255 * torch.rand(1, 3, 6, 8, generator=numbers),
        "disparity": 5 + 10 * torch.rand(shape, generator=numbers),
        "valid": torch.rand(shape, generator=numbers) > 0.2,
        "polarization_left": torch.rand(1, 2, 6, 8, generator=numbers) - 0.5,
    }
    return {name: value for name, value in made.items() if name not in without}


def corrected(value: float) -> Prediction:
    base = Prediction(torch.full((1, 1, 6, 8), value), confidence=torch.full((1, 1, 6, 8), 0.5))
    return base.corrected(torch.full((1, 1, 6, 8), 2.0), torch.zeros(1, 1, 6, 8))


def drawn(prediction: Prediction, made: dict[str, Any]) -> dict[str, Picture]:
    both = (DisparityPictures(ReportPicturesOptions()), PolarizationPictures(PolarizationOptions()))
    return {each.name: each for draw in both for each in draw(made, prediction, 4.0)}


def test_the_scales_follow_from_the_sample_and_the_pictures_from_the_answer() -> None:
    near, far = drawn(corrected(8.0), batch()), drawn(corrected(1000.0), batch())

    assert list(near) == [
        "left", "right", "true disparity", "disparity", "error", "disparity of the base alone",
        "error of the base alone", "confidence", "DoLP", "AoLP", "correction",
    ]  # fmt: skip
    assert {name: each.scale for name, each in near.items()} == {name: each.scale for name, each in far.items()}
    truth, valid = batch()["disparity"][0, 0].numpy(), batch()["valid"][0, 0].numpy()
    low, high = truth[valid].min(), truth[valid].max()
    assert near["disparity"].scale[0][0] == f"{low:.1f} px"
    estimate = np.full_like(truth, 10.0)
    assert np.array_equal(near["disparity"].pixels, disparity_picture(estimate, np.ones_like(valid), low, high))
    error = np.abs(estimate - truth)
    assert np.array_equal(near["error"].pixels, error_picture(error, valid))
    assert near["error"].note == f"mean {error[valid].mean():.2f} px"
    assert near["error of the base alone"].note != near["error"].note
    assert [text for text, _ in near["correction"].scale if text] == ["−4 px", "0", "+4 px"]


def test_what_is_not_there_is_left_out() -> None:
    alone = Prediction(torch.full((1, 1, 6, 8), 8.0))
    assert list(drawn(alone, batch(polarization_left=None))) == [
        "left",
        "right",
        "true disparity",
        "disparity",
        "error",
    ]
    assert list(drawn(alone, batch(valid=None, polarization_left=None))) == ["left", "right"]
    assert drawn(alone, batch(left=None, polarization_left=None)) == {}
    assert drawn(alone, batch(valid=None)).keys() == {"left", "right", "DoLP", "AoLP"}


def test_a_sample_without_a_known_pixel_is_drawn_all_the_same() -> None:
    blank = batch() | {"valid": torch.zeros(1, 1, 6, 8, dtype=torch.bool)}
    assert drawn(corrected(8.0), blank)["error"].note == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_not_finite_is_drawn_all_the_same(value: float) -> None:
    assert drawn(corrected(value), batch())["error"].note == "mean inf px"

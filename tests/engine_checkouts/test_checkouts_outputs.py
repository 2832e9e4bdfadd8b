"""Whatever a network returns becomes positive disparities in px at full resolution, of the size of the images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from checkout_world import network, pair, trainable
from engine_checkouts.outputs import prediction
from engine_checkouts.padding import Padding
from engine_checkouts.preset import Answer

from engine.errors import PluginError

SIZE = Padding(64, 96, 32)
FINAL = 20 * torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0))
EARLY = FINAL + 1


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        (FINAL, Answer()),
        (FINAL[:, 0], Answer()),
        ([EARLY, FINAL], Answer()),
        ([-EARLY, -FINAL], Answer(sign=-1)),
        ((FINAL[:, :, ::4, ::4] / 4, [EARLY, FINAL]), Answer(estimates=(1,), initial=(0,))),
        ((None, torch.cat([-FINAL, 0 * FINAL], 1)), Answer(estimates=(1,), sign=-1)),
        ({"out": {"disparities": (EARLY, FINAL)}}, Answer(estimates=("out", "disparities"))),
    ],
)
def test_every_build_of_a_result_is_the_same_prediction(result: Any, answer: Answer) -> None:
    made = prediction(result, answer, SIZE)
    assert torch.equal(made.value, FINAL)
    assert all(torch.equal(each, EARLY) for each in made.intermediates)
    if answer.initial:
        assert torch.equal(made.features["initial"], FINAL[:, :, ::4, ::4])


def test_values_change_with_the_width_and_stay_where_they_are_full_pixels_already() -> None:
    half = torch.full((1, 1, 32, 48), 5.0)
    assert torch.equal(prediction(half, Answer(), SIZE).value, torch.full((1, 1, 64, 96), 10.0))
    assert prediction(half, Answer(own_pixels=False), SIZE).value.unique() == 5
    early = prediction([half, FINAL], Answer(), SIZE).intermediates[0]
    assert (early.shape, early.unique().item()) == ((1, 1, 32, 48), 10)


def test_a_result_of_another_build_is_named() -> None:
    with pytest.raises(PluginError, match=r"returned a tuple of 1, and its preset looks in it for \[1\]"):
        prediction((FINAL,), Answer(estimates=(1,)), SIZE)
    with pytest.raises(PluginError, match="returned a dict with a for a disparity"):
        prediction({"a": 1}, Answer(), SIZE)
    with pytest.raises(PluginError, match="no estimate"):
        prediction([], Answer(), SIZE)


@pytest.mark.parametrize("preset", ["foundation_stereo", "raft_stereo"])
@pytest.mark.parametrize(("height", "width"), [(60, 100), (64, 96), (130, 250)])
def test_images_of_any_size_give_maps_of_that_size(preset: str, height: int, width: int) -> None:
    made = network(preset)
    batch = pair(height, width)
    with torch.no_grad():
        assert made(batch).value.shape == (1, 1, height, width)
    learning = trainable(made)(batch)
    assert [tuple(each.shape) for each in learning.intermediates] == [(1, 1, height, width)] * 2
    if preset == "foundation_stereo":
        assert learning.features["initial"].shape == (1, 1, -(-height // 4), -(-width // 4))


def test_padding_repeats_the_last_column_and_row_and_moves_nothing() -> None:
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    padded = Padding(2, 3, 4).pad(image)
    assert padded.shape == (1, 1, 4, 4)
    assert torch.equal(padded[..., :2, :3], image)
    assert padded[0, 0, 3, 3] == 5


def test_the_estimates_of_evaluation_are_the_last_of_as_many_iterations_in_training() -> None:
    made = network(train_iters=3, valid_iters=3, freeze_bn=True)
    batch = pair()
    with torch.no_grad():
        value = made(batch).value
        for module in made.modules():
            module.training = False
        made.training = True  # the structure of training, with dropout off
        learning = made(batch)
    assert torch.equal(learning.value, value)
    assert len(learning.intermediates) == 2

"""The scale of a pixel's error: what the Laplace loss is by hand, where it is smallest, and that it can be learnt."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Command, events_of, only_run
from engine_stereo.options import LaplaceOptions, UncertaintyOptions
from engine_stereo.uncertainty import Laplace, Uncertainty
from hypothesis import given
from hypothesis import strategies as st
from toy_world import toml

from engine.errors import InputError
from engine.prediction import Prediction

LOSS = Laplace(LaplaceOptions())


def asked(error: list[float], scale: list[float], valid: list[bool] | None = None) -> torch.Tensor:
    """The loss of pixels in a row, whose truth is 10 px."""
    truth = torch.full((1, 1, 1, len(error)), 10.0)
    mask = torch.tensor(valid or [True] * len(error)).view_as(truth)
    log_scale = torch.tensor(scale).log().view_as(truth)
    prediction = Prediction(truth + torch.tensor(error).view_as(truth), features={"log_scale": log_scale})
    return LOSS(prediction, {"disparity": truth.where(mask, torch.inf), "valid": mask})


@pytest.mark.parametrize(
    ("error", "scale", "expected"),
    [
        ([0.0], [1.0], 0.693147),  # log 2
        ([2.0], [2.0], 2.386294),  # 1 + log 4
        ([-3.0], [0.5], 6.0),  # 3 / 0.5 + log 1
        ([1.0, 0.0], [1.0, 0.5], 0.846574),  # (1 + log 2 + 0) / 2
    ],
)
def test_it_is_what_one_computes_by_hand(error: list[float], scale: list[float], expected: float) -> None:
    assert asked(error, scale).item() == pytest.approx(expected, abs=1e-5)
    assert asked([*error, 50.0], [*scale, 9.0], [True] * len(error) + [False]).item() == pytest.approx(
        expected, abs=1e-5
    )


@given(error=st.floats(0.05, 100), other=st.floats(0.05, 100))
def test_no_scale_is_better_than_the_error_itself(error: float, other: float) -> None:
    least = math.log(2 * error) + 1
    assert asked([error], [error]).item() == pytest.approx(least, rel=1e-4, abs=1e-5)
    assert asked([error], [other]).item() >= least - 1e-3
    log_scale = torch.full((1, 1, 1, 1), math.log(error), requires_grad=True)
    truth = torch.zeros(1, 1, 1, 1)
    LOSS(
        Prediction(truth + error, features={"log_scale": log_scale}),
        {"disparity": truth, "valid": torch.ones_like(truth, dtype=torch.bool)},
    ).backward()
    assert log_scale.grad is not None
    assert log_scale.grad.item() == pytest.approx(0, abs=1e-4)


def test_a_confidence_stands_for_the_scale_that_it_follows_from() -> None:
    truth, scale = torch.zeros(1, 1, 1, 1), 3.0
    batch = {"disparity": truth, "valid": torch.ones_like(truth, dtype=torch.bool)}
    probability = torch.full_like(truth, 1 - math.exp(-2 / scale))  # of an error below 2 px
    loss = Laplace(LaplaceOptions(threshold=2.0))(Prediction(truth + 1.5, confidence=probability), batch)
    assert loss.item() == pytest.approx(1.5 / scale + math.log(2 * scale), abs=1e-5)
    for certain in (0.0, 1.0):
        sure = LOSS(Prediction(truth + 1.5, confidence=torch.full_like(truth, certain)), batch)
        assert bool(torch.isfinite(sure))


@pytest.mark.parametrize("told", ["confidence", "log_scale"])
def test_the_scale_of_a_base_is_held_against_the_bases_error_and_that_of_an_injection_against_its_own(
    told: str,
) -> None:
    truth = torch.zeros(1, 1, 1, 1)
    batch = {"disparity": truth, "valid": torch.ones_like(truth, dtype=torch.bool)}
    scale, sure = truth + math.log(3.0), truth + 0.4
    base = (
        Prediction(truth + 6.0, confidence=sure)
        if told == "confidence"
        else Prediction(truth + 6.0, features={"log_scale": scale})
    )
    corrected = base.corrected(truth - 4.0, truth)
    assert LOSS(corrected, batch) == LOSS(base, batch)
    own = replace(corrected, features={"log_scale": truth + math.log(2.0)})
    assert LOSS(own, batch).item() == pytest.approx(1 + math.log(4), abs=1e-5)


def test_a_model_that_tells_nothing_of_it_is_sent_to_the_injection() -> None:
    truth = torch.zeros(1, 1, 1, 1)
    with pytest.raises(InputError, match=r"'laplace' needs a model that tells how sure it is") as raised:
        LOSS(Prediction(truth), {"disparity": truth, "valid": torch.ones_like(truth, dtype=torch.bool)})
    assert '[injection] plugin = "uncertainty"' in str(raised.value.advice)


def test_the_scales_of_calm_and_wild_halves_are_learnt_and_confidence_follows() -> None:
    numbers = torch.Generator().manual_seed(0)
    left = 255 * torch.rand(1, 3, 24, 32, generator=numbers)
    left[..., 16:] = 128.0  # without texture, where the disparity is wrong by some 4 px, and elsewhere by some 0.5
    truth = torch.full((1, 1, 24, 32), 2.0)
    spread = torch.where(torch.arange(32) < 16, 0.5, 4.0).expand_as(truth)
    off = torch.empty_like(truth).exponential_(generator=numbers) * spread
    sign = torch.where(torch.rand(truth.shape, generator=numbers) < 0.5, -1.0, 1.0)
    batch = {"left": left, "right": left, "disparity": truth, "valid": torch.ones_like(truth, dtype=torch.bool)}
    torch.manual_seed(0)
    made = Uncertainty(UncertaintyOptions(width=8))
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        answer = made(batch, Prediction(truth + sign * off), truth)
        loss = LOSS(answer, batch)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scale = answer.features["log_scale"].exp()
    calm, wild = (scale[..., half].mean().item() for half in (slice(3, 13), slice(19, 29)))
    assert losses[-1] < losses[0] - 0.3
    assert 0.25 < calm < 1.0
    assert 2.0 < wild < 8.0
    assert answer.confidence is not None
    torch.testing.assert_close(answer.confidence, 1 - torch.exp(-4 / scale))


SCENES = {"plugin": "polarized_scenes", "height": 48, "width": 64}
RECIPE = {
    "name": "sure",
    "model": {"plugin": "s2m2", "size": "nano", "weights": "builtin:nano-opaque"},
    "injection": {"plugin": "uncertainty", "width": 4},
    "data": {"train": {**SCENES, "count": 2, "split": "train"}, "val": {**SCENES, "count": 1, "split": "val"}},
    "train": {"batch_size": 2, "losses": [{"name": "laplace"}], "optimizer": {"lr": 0.01}, "log_every": 1},
    "evaluate": {"metrics": [{"name": "epe"}], "key": ["epe/all"]},
    "stage": [{"name": "scale", "trainable": ["injection.**"], "frozen": ["base.**"], "warp": "pred", "steps": 3}],
}


def test_it_is_learnt_beside_a_frozen_base_and_leaves_its_disparity_alone(engine: Command, tmp_path: Path) -> None:
    (tmp_path / "sure.toml").write_text(toml(RECIPE))
    done = engine("run", "sure.toml")
    assert done.code == 0, done.err
    run = only_run(tmp_path, "sure")
    losses = [event["loss"] for event in events_of(run, "step")]
    assert losses[-1] < losses[0]
    assert all(event["evaluation"]["mean"] == event["evaluation"]["base_mean"] for event in events_of(run, "evaluated"))

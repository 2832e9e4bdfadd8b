"""The network's losses against cases done by hand."""

from math import log

import pytest
import torch
from engine_s2m2.losses import PROBABILITY_MARGIN, ConfidenceLoss, DisparityLoss, PMCLoss, VisibilityLoss
from engine_s2m2.options import ConfidenceOptions, DisparityOptions, PMCOptions, VisibilityOptions

from engine.errors import InputError
from engine.prediction import Prediction

H, W = 4, 16


def truth(disparity: float = 4.0) -> dict[str, torch.Tensor]:
    return {
        "disparity": torch.full((1, 1, H, W), disparity),
        "valid": torch.ones(1, 1, H, W, dtype=torch.bool),
        "occluded": torch.zeros(1, 1, H, W, dtype=torch.bool),
    }


def guess(value: float = 4.0, quarter: float = 4.0, confidence: float = 0.5, visibility: float = 0.5) -> Prediction:
    def quarter_map(content: float) -> torch.Tensor:
        return torch.full((1, 1, H // 4, W // 4), content, requires_grad=True)

    return Prediction(
        value=torch.full((1, 1, H, W), value, requires_grad=True),
        intermediates=[quarter_map(quarter) for _ in range(3)],
        confidence=torch.full((1, 1, H, W), confidence, requires_grad=True),
        visibility=torch.full((1, 1, H, W), visibility, requires_grad=True),
        features={
            "transport": torch.full((1, H // 4, W // 4, W // 4), 0.25, requires_grad=True),
            "initial_confidence": quarter_map(confidence),
            "initial_visibility": quarter_map(visibility),
            "confidences": quarter_map(confidence)[None],
            "visibilities": quarter_map(visibility)[None],
        },
    )


def every_loss():
    return [
        PMCLoss(PMCOptions()),
        DisparityLoss(DisparityOptions()),
        VisibilityLoss(VisibilityOptions()),
        ConfidenceLoss(ConfidenceOptions()),
    ]


def squeezed(probability: float) -> float:
    return PROBABILITY_MARGIN + (1 - 2 * PROBABILITY_MARGIN) * probability


def test_mode_concentration_counts_the_probability_at_the_candidates():
    # d = 4 px is one quarter-resolution column: columns 1, 2, 3 match 0, 1, 2, and column 0 leaves the image.
    plan = torch.zeros(1, 1, 4, 4)
    plan[0, 0, 1, 0], plan[0, 0, 2, 1], plan[0, 0, 3, 2] = 1.0, 0.6, 0.0
    prediction = guess()
    prediction.features["transport"] = plan
    loss = PMCLoss(PMCOptions(neighbourhood=0, epsilon=0.1))
    assert loss(prediction, truth()).item() == pytest.approx((0 + 0.3 + 0.9) / 3)


def test_mode_concentration_widens_candidates_and_counts_duplicates_once():
    plan = torch.full((1, 1, 4, 4), 0.25)
    prediction = guess()
    prediction.features["transport"] = plan
    # With d = 0 pixel i has candidate i, widened to i - 1 .. i + 1: two columns at the ends, three inside.
    loss = PMCLoss(PMCOptions(neighbourhood=1, epsilon=0.0))
    assert loss(prediction, truth(0.0)).item() == pytest.approx((0.5 + 0.25 + 0.25 + 0.5) / 4)


def test_mode_concentration_accepts_every_surface_of_a_block():
    batch = truth(0.0)
    batch["disparity"][..., 14:] = 8.0  # half of the last block is two columns further left
    plan = torch.zeros(1, 1, 4, 4)
    plan[0, 0, 3, 1] = 0.5
    plan[0, 0, 3, 3] = 0.5
    batch["valid"][..., :12] = False
    prediction = guess()
    prediction.features["transport"] = plan
    assert PMCLoss(PMCOptions(neighbourhood=0, epsilon=0.0))(prediction, batch).item() == 0


def test_mode_concentration_ignores_what_the_right_image_does_not_see():
    batch = truth()
    batch["occluded"][:] = True
    assert PMCLoss(PMCOptions())(guess(), batch).item() == 0


def test_mode_concentration_says_what_to_do_when_the_base_is_frozen():
    with pytest.raises(InputError, match="only while it trains"):
        PMCLoss(PMCOptions())(Prediction(torch.zeros(1, 1, H, W)), truth())


def test_disparity_weighs_later_estimates_more():
    loss = DisparityLoss(DisparityOptions(kind="l1", gamma=0.5))
    prediction = guess(value=5.0, quarter=6.0)
    assert loss(prediction, truth()).item() == pytest.approx(1 + 2 * (0.5 + 0.25 + 0.125))


def test_smooth_disparity_error_is_quadratic_below_one_pixel():
    loss = DisparityLoss(DisparityOptions(kind="smooth_l1"))
    assert loss(Prediction(torch.full((1, 1, H, W), 4.5)), truth()).item() == pytest.approx(0.125)


def test_matching_is_not_blamed_where_nothing_matches():
    batch = truth()
    batch["occluded"][:] = True
    prediction = guess(quarter=6.0)
    DisparityLoss(DisparityOptions())(prediction, batch).backward()
    assert not prediction.intermediates[0].grad.any()
    assert prediction.intermediates[1].grad.any()


def test_the_cheapest_coarse_disparity_occurs_in_its_block():
    batch = truth()
    batch["disparity"][..., :3] = 10.0  # 12 of the 16 pixels of the first block
    coarse = {
        value: Prediction(torch.zeros(1, 1, H, W), [torch.full((1, 1, 1, 4), value)]) for value in (4.0, 8.5, 10.0)
    }
    batch["valid"][..., 4:] = False
    loss = DisparityLoss(DisparityOptions(kind="l1"))
    costs = {value: loss(prediction, batch).item() for value, prediction in coarse.items()}
    assert min(costs, key=costs.__getitem__) == 10.0


def test_visibility_is_the_cross_entropy_of_all_three_kinds_of_map():
    batch = truth()
    batch["occluded"][..., :4] = True
    found = VisibilityLoss(VisibilityOptions())(guess(visibility=0.9), batch).item()
    assert found == pytest.approx(-0.75 * log(squeezed(0.9)) - 0.25 * log(squeezed(0.1)), rel=1e-5)


def test_confidence_is_judged_by_the_error_of_its_own_disparity():
    loss = ConfidenceLoss(ConfidenceOptions(threshold=1.0))
    right, wrong = -log(squeezed(0.8)), -log(squeezed(0.2))
    # Initial and refined disparities are off by 2 px, the final one is exact.
    assert loss(guess(quarter=6.0, confidence=0.8), truth()).item() == pytest.approx((2 * wrong + right) / 3, rel=1e-5)


def test_confidence_does_not_move_the_disparity():
    prediction = guess(value=5.0)
    ConfidenceLoss(ConfidenceOptions())(prediction, truth()).backward()
    assert prediction.value.grad is None
    assert prediction.confidence.grad.any()


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_certainty_on_the_wrong_side_still_has_a_gradient(probability):
    batch = truth()
    batch["occluded"][:] = probability == 1.0
    prediction = guess(visibility=probability)
    VisibilityLoss(VisibilityOptions())(prediction, batch).backward()
    gradient = prediction.features["initial_visibility"].grad
    assert gradient.isfinite().all()
    assert gradient.all()


@pytest.mark.parametrize("loss", every_loss(), ids=lambda loss: type(loss).__name__)
def test_no_valid_pixel_means_zero_with_a_graph(loss):
    batch = truth(float("nan"))
    batch["valid"][:] = False
    prediction = guess()
    value = loss(prediction, batch)
    assert value.item() == 0
    value.backward()
    leaves = (prediction.value, prediction.confidence, prediction.features["transport"], *prediction.intermediates)
    assert all(leaf.grad is None or not leaf.grad.any() for leaf in leaves)


@pytest.mark.parametrize("loss", every_loss(), ids=lambda loss: type(loss).__name__)
def test_invalid_pixels_do_not_count(loss):
    clean, spoilt = truth(), truth()
    spoilt["disparity"][..., 8:] = float("inf")
    for batch in (clean, spoilt):
        batch["valid"][..., 8:] = False
    assert loss(guess(quarter=5.0), spoilt).item() == loss(guess(quarter=5.0), clean).item()


@pytest.mark.parametrize("loss", every_loss(), ids=lambda loss: type(loss).__name__)
def test_losses_look_behind_a_correction(loss):
    prediction = guess(quarter=5.0)
    correction = torch.full_like(prediction.value, 3.0)
    corrected = prediction.corrected(correction, correction)
    assert loss(corrected, truth()).item() == loss(prediction, truth()).item()

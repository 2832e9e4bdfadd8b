import pytest
import torch
import torch.nn.functional as F
from engine_stereo import losses, options, sequence

from engine.errors import InputError
from engine.prediction import Prediction

PLAIN = [
    losses.DisparityL1(options.DisparityL1Options()),
    losses.DisparitySmoothL1(options.DisparitySmoothL1Options()),
    sequence.Sequence(options.SequenceOptions()),
]


def _batch(height=6, width=8, samples=2) -> dict:
    generator = torch.Generator().manual_seed(0)
    truth = 10 * torch.rand(samples, 1, height, width, generator=generator)
    valid = torch.rand(samples, 1, height, width, generator=generator) > 0.3
    truth[~valid] = torch.inf
    return {"disparity": truth, "valid": valid, "occluded": torch.zeros_like(valid)}


def _value(batch, seed=1) -> torch.Tensor:
    return (10 * torch.rand(batch["valid"].shape, generator=torch.Generator().manual_seed(seed))).requires_grad_()


def test_l1_and_smooth_l1_are_means_over_the_valid_pixels():
    batch = _batch()
    value, chosen = _value(batch), batch["valid"]
    truth = batch["disparity"]
    prediction = Prediction(value)
    assert torch.allclose(PLAIN[0](prediction, batch), F.l1_loss(value[chosen], truth[chosen]))
    smooth = losses.DisparitySmoothL1(options.DisparitySmoothL1Options(beta=2.5))
    assert torch.allclose(smooth(prediction, batch), F.smooth_l1_loss(value[chosen], truth[chosen], beta=2.5))


def test_invalid_pixels_get_no_gradient_even_where_the_truth_is_infinite():
    for loss in PLAIN:
        batch = _batch()
        value = _value(batch)
        loss(Prediction(value), batch).backward()
        assert value.grad.isfinite().all()
        assert (value.grad[~batch["valid"]] == 0).all()
        assert (value.grad[batch["valid"]] != 0).all()


def test_an_empty_batch_costs_nothing_and_still_has_a_graph():
    batch = _batch()
    batch["valid"] = torch.zeros_like(batch["valid"])
    everything = [
        *PLAIN,
        sequence.Sequence(options.SequenceOptions(average="samples")),
        losses.ConfidenceBCE(options.ConfidenceOptions()),
        losses.VisibilityBCE(options.VisibilityOptions()),
    ]
    for loss in everything:
        value = _value(batch)
        probability = value / 10
        result = loss(Prediction(value, confidence=probability, visibility=probability), batch)
        assert result.item() == 0
        result.backward()
        assert (value.grad == 0).all()


def test_sequence_weighs_earlier_estimates_less_and_compares_them_at_full_size():
    batch = _batch()
    batch["valid"][:] = True
    batch["disparity"] = torch.zeros_like(batch["disparity"])
    ones = torch.ones_like(batch["disparity"])
    quarter = torch.full((2, 1, 3, 4), 100.0)
    prediction = Prediction(ones, intermediates=[quarter, 10 * ones])
    loss = sequence.Sequence(options.SequenceOptions(gamma=0.5))
    assert loss(prediction, batch).item() == pytest.approx(0.25 * 100 + 0.5 * 10 + 1)


def test_within_bound_leaves_out_what_the_injection_cannot_repair():
    batch = {"disparity": torch.tensor([[[[0.0, 0.0]]]]), "valid": torch.ones(1, 1, 1, 2, dtype=torch.bool)}
    base = Prediction(torch.tensor([[[[1.0, 9.0]]]]))
    combined = base.corrected(torch.tensor([[[[-0.5, -0.5]]]]), torch.zeros(1, 1, 1, 2))
    bounded = losses.DisparityL1(options.DisparityL1Options(within_bound=4.0))
    assert bounded(combined, batch).item() == 0.5
    assert bounded(base, batch).item() == 5.0  # no injection, nothing to leave out


def test_confidence_is_judged_by_the_error_of_the_base_that_gave_it():
    batch = {"disparity": torch.zeros(1, 1, 1, 2), "valid": torch.ones(1, 1, 1, 2, dtype=torch.bool)}
    base = Prediction(torch.tensor([[[[1.0, 9.0]]]]), confidence=torch.tensor([[[[0.9, 0.2]]]]))
    loss = losses.ConfidenceBCE(options.ConfidenceOptions(threshold=4.0))
    expected = -(torch.tensor(0.9).log() + torch.tensor(0.8).log()) / 2
    assert torch.allclose(loss(base, batch), expected)
    assert torch.allclose(
        loss(base.corrected(torch.full((1, 1, 1, 2), -9.0), torch.zeros(1, 1, 1, 2)), batch), expected
    )


def test_visibility_is_the_opposite_of_occlusion():
    batch = _batch()
    batch["valid"][:] = True
    right = Prediction(_value(batch), visibility=(~batch["occluded"]).float())
    wrong = Prediction(_value(batch), visibility=batch["occluded"].float())
    loss = losses.VisibilityBCE(options.VisibilityOptions())
    assert loss(right, batch).item() == pytest.approx(0, abs=1e-5)
    assert loss(wrong, batch).item() == pytest.approx(13.8, abs=0.1)  # -log of the floor 1e-6


def test_what_a_loss_needs_and_does_not_get_is_named():
    batch = _batch()
    prediction = Prediction(_value(batch))
    with pytest.raises(InputError, match="predicts confidence"):
        losses.ConfidenceBCE(options.ConfidenceOptions())(prediction, batch)
    with pytest.raises(InputError, match="predicts visibility"):
        losses.VisibilityBCE(options.VisibilityOptions())(prediction, batch)
    del batch["occluded"]
    with pytest.raises(InputError, match="'occluded'"):
        losses.VisibilityBCE(options.VisibilityOptions())(Prediction(_value(batch), visibility=_value(batch)), batch)


@pytest.mark.parametrize("loss", [*PLAIN, losses.ConfidenceBCE(options.ConfidenceOptions())])
def test_losses_are_computed_in_float32_under_autocast(loss):
    batch = _batch()
    value = _value(batch)
    prediction = Prediction(value, confidence=value.detach() / 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(prediction, batch)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, loss(prediction, batch))


def test_every_rule_of_the_weights_of_iterations():
    def weights(count, **more):
        return sequence.Sequence(options.SequenceOptions(**more)).weights(count)

    assert weights(3, gamma=0.5) == [0.25, 0.5, 1]
    # RAFT-Stereo's rule: from 0.9^15 to 1, whatever the number of iterations; one alone weighs 1
    assert weights(4, rule="spread") == pytest.approx([0.9**15, 0.9**10, 0.9**5, 1])
    assert sum(weights(22, rule="spread")) == pytest.approx(11.2, abs=0.05)
    assert sum(weights(22)) == pytest.approx(9.0, abs=0.05)
    assert weights(1, rule="spread") == [1]
    assert weights(12, weights=[1.0] * 12) == [1.0] * 12
    with pytest.raises(InputError, match="has 12 weights, and the model made 4 estimates"):
        weights(4, weights=[1.0] * 12)


def test_a_list_of_twelve_weights_is_applied_in_the_order_of_the_iterations():
    batch = _batch()
    batch["valid"][:], batch["disparity"][:] = True, 0
    estimates = [torch.full_like(batch["disparity"], 10.0**-number) for number in range(12)]
    chosen = [float(number) for number in range(12)]
    loss = sequence.Sequence(options.SequenceOptions(weights=chosen))
    found = loss(Prediction(estimates[-1], intermediates=estimates[:-1]), batch)
    assert found.item() == pytest.approx(sum(weight * 10.0**-number for number, weight in enumerate(chosen)))


def test_the_average_of_samples_is_the_end_point_error_and_leaves_out_empty_ones():
    batch = {
        "disparity": torch.zeros(3, 1, 1, 4),
        "valid": torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]).bool().reshape(3, 1, 1, 4),
    }
    value = torch.tensor([1.0, 5.0, 100.0]).reshape(3, 1, 1, 1).expand(3, 1, 1, 4)

    def loss(**more):
        return sequence.Sequence(options.SequenceOptions(**more))(Prediction(value), batch).item()

    assert loss(average="samples") == 3
    assert loss() == pytest.approx((4 * 1 + 5) / 5)
    assert loss(beta=1.0) == pytest.approx((4 * 0.5 + 4.5) / 5)


def test_a_truth_beyond_the_bound_counts_as_unknown():
    batch = {"disparity": torch.tensor([[[[2.0, 500.0]]]]), "valid": torch.ones(1, 1, 1, 2, dtype=torch.bool)}
    prediction = Prediction(torch.tensor([[[[5.0, 5.0]]]]))
    assert sequence.Sequence(options.SequenceOptions(below=416))(prediction, batch).item() == 3


@pytest.mark.parametrize(("at", "scale"), [("own", 4), ("full", 1)])
def test_a_perfect_initial_estimate_costs_nothing_and_an_error_is_measured_in_its_own_pixels(at, scale):
    batch = _batch(8, 12)
    batch["disparity"] = torch.full_like(batch["disparity"], 8.0)
    loss = sequence.Initial(options.InitialOptions(at=at, beta=0.0))
    perfect = Prediction(torch.zeros(2, 1, 8, 12), features={"initial": torch.full((2, 1, 2, 3), 8.0)})
    assert loss(perfect, batch).item() == 0
    off = Prediction(torch.zeros(2, 1, 8, 12), features={"initial": torch.full((2, 1, 2, 3), 10.0)})
    assert loss(off, batch).item() == pytest.approx(2 / scale)
    assert loss(off.corrected(off.value, off.value), batch).item() == pytest.approx(2 / scale)
    cut = {name: field[..., :6, :10] for name, field in batch.items()}  # no whole number of its pixels
    assert loss(perfect, cut).item() == pytest.approx(0, abs=1e-6)


def test_the_initial_estimate_has_to_be_there():
    with pytest.raises(InputError, match="estimates disparity before it iterates"):
        sequence.Initial(options.InitialOptions())(Prediction(_value(_batch())), _batch())

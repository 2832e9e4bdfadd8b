import pytest
import torch
from engine_polarization.pol_diff import CHANNELS, pol_diff
from engine_polarization.stokes import flip

from engine.prediction import Prediction

DIFFERENCES = slice(0, 4)
SEEN = CHANNELS.index("seen by both views")


def _batch(height=6, width=20) -> dict:
    generator = torch.Generator().manual_seed(0)
    left, right = 0.2 * torch.randn(2, 2, 2, height, width, generator=generator)
    return {"polarization_left": left, "polarization_right": right}


def _base(height=6, width=20) -> Prediction:
    value, confidence = torch.rand(2, 2, 1, height, width, generator=torch.Generator().manual_seed(1))
    return Prediction(4 * value, confidence=confidence)


def test_it_gives_the_named_channels_in_float32_and_of_order_one():
    signal = pol_diff(_batch(), _base(), torch.ones(2, 1, 6, 20), bound=4.0)
    assert signal.shape == (2, len(CHANNELS), 6, 20)
    assert signal.dtype == torch.float32
    assert (signal.std((0, 2, 3)) < 5).all()
    assert signal[:, SEEN].unique().tolist() == [0, 1]


def test_equal_views_differ_by_nothing_along_disparity_zero():
    batch = _batch()
    batch["polarization_right"] = batch["polarization_left"]
    signal = pol_diff(batch, _base(), torch.zeros(2, 1, 6, 20), bound=4.0)
    assert signal[:, DIFFERENCES].abs().max() == 0
    assert signal[:, SEEN].all()


def test_a_shifted_view_differs_by_nothing_along_the_shift_only():
    batch = _batch()
    batch["polarization_right"] = batch["polarization_left"].roll(-3, -1)
    right, wrong = (pol_diff(batch, _base(), torch.full((2, 1, 6, 20), d), bound=4.0) for d in (3.0, 2.0))
    assert right[:, DIFFERENCES].abs().max() == 0
    assert wrong[:, DIFFERENCES].abs().mean() > 0.1
    assert torch.equal(right[:, 5:], wrong[:, 5:])  # what does not depend on the alignment


def test_a_vertical_mirror_of_the_inputs_mirrors_the_signal_and_negates_what_turns():
    batch, base, alignment = _batch(), _base(), 6 * torch.rand(2, 1, 6, 20)
    signal = pol_diff(batch, base, alignment, bound=4.0)
    mirrored = pol_diff(
        {name: flip(value, "vertical") for name, value in batch.items()},
        Prediction(base.value.flip(-2), confidence=base.confidence.flip(-2)),
        alignment.flip(-2),
        bound=4.0,
    )
    turns = {"u difference", "angle difference by DoLP", "u", "u slope"}
    sign = torch.tensor([-1.0 if name in turns else 1.0 for name in CHANNELS])[:, None, None]
    assert torch.allclose(mirrored, sign * signal.flip(-2), atol=1e-6)


def test_unknown_and_outside_alignment_shows_no_difference():
    alignment = torch.zeros(2, 1, 6, 20)
    alignment[..., 5], alignment[..., 6], alignment[..., 7] = torch.nan, 100.0, -100.0
    signal = pol_diff(_batch(), _base(), alignment, bound=4.0)
    assert signal.isfinite().all()
    assert (signal[:, : SEEN + 1, :, 5:8] == 0).all()
    assert (signal[:, SEEN, :, 8:] == 1).all()


def test_a_ground_truth_that_is_not_valid_aligns_nothing_but_an_estimate_there_does():
    valid = torch.rand(2, 1, 6, 20) > 0.5
    batch = _batch() | {"disparity": torch.zeros(2, 1, 6, 20), "valid": valid}
    by_truth = pol_diff(batch, _base(), batch["disparity"], bound=4.0)
    assert torch.equal(by_truth[:, SEEN].bool(), valid[:, 0])
    by_estimate = pol_diff(batch, _base(), torch.full((2, 1, 6, 20), 0.01), bound=4.0)
    assert by_estimate[:, SEEN, :, 1:].all()


def test_no_gradient_flows_to_the_base_or_the_alignment():
    base, alignment = _base(), torch.ones(2, 1, 6, 20, requires_grad=True)
    base.value.requires_grad_()
    assert not pol_diff(_batch(), base, alignment, bound=4.0).requires_grad


def test_a_base_without_confidence_is_taken_as_confident():
    signal = pol_diff(_batch(), Prediction(torch.zeros(2, 1, 6, 20)), torch.zeros(2, 1, 6, 20), bound=4.0)
    assert (signal[:, CHANNELS.index("base confidence")] == 1).all()


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_the_base_is_told_in_units_of_the_bound(scale):
    base = Prediction(torch.full((2, 1, 6, 20), 5.0 * scale))
    signal = pol_diff(_batch(), base, torch.zeros(2, 1, 6, 20), bound=4.0 * scale)
    assert signal[0, CHANNELS.index("base disparity"), 0, 0].item() == pytest.approx(0.524, abs=0.001)

"""Transport, first estimates and lookups on small cases that can be done by hand."""

from math import log

import pytest
import torch
from engine_s2m2.correlation import lookup
from engine_s2m2.matching import first_estimates, transport, window
from engine_s2m2.refinement import clamped_logit
from engine_s2m2.upsampling import mix_neighbours


def test_no_pixel_gives_or_takes_more_than_its_mass():
    plan = transport(torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 5, positivity=False)
    assert plan.min() >= 0
    assert plan.sum(-1).max() <= 1 + 1e-5
    assert plan.sum(-2).max() <= 1.05  # columns are met one half-round before the end


def test_equal_scores_share_the_mass_evenly():
    plan = transport(torch.zeros(1, 1, 4, 4), positivity=False)
    assert torch.allclose(plan, plan[0, 0, 0, 0].expand_as(plan))


def test_a_clear_match_takes_most_of_the_mass_and_leaves_the_rest_to_the_dustbin():
    # Three rounds do not exhaust the dustbin: with any clear score the match settles at 0.84.
    plan = transport(30 * torch.eye(6)[None, None], positivity=True)
    assert torch.allclose(plan, 0.838 * torch.eye(6), atol=1e-3)


def test_huge_scores_stay_finite_with_their_gradient():
    scores = (1e3 * torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))).requires_grad_()
    transport(scores, positivity=True).sum().backward()
    assert scores.grad.isfinite().all()


def test_scores_that_span_hundreds_are_matched_as_in_double_precision():
    scores = 100 * torch.randn(1, 4, 48, 48, generator=torch.Generator().manual_seed(0))
    exact = transport(scores.double(), positivity=True)
    assert float((transport(scores, positivity=True) - exact).abs().max()) < 5e-6
    assert float(exact.max()) > 0.5


def test_first_estimates_are_mean_and_mass_around_the_peak():
    plan = torch.zeros(1, 1, 8, 8)
    plan[0, 0, 6, 2:5] = torch.tensor([0.2, 0.5, 0.1])
    plan[0, 0, 6, 7] = 0.1
    disparity, confidence, visibility = first_estimates(plan)
    mean = (0.2 * 2 + 0.5 * 3 + 0.1 * 4 + 1e-4) / (0.8 + 1e-4)
    assert disparity[0, 0, 0, 6].item() == pytest.approx(6 - mean, abs=1e-5)
    assert confidence[0, 0, 0, 6].item() == pytest.approx(0.8)
    assert visibility[0, 0, 0, 6].item() == pytest.approx(0.9)


def test_a_window_is_zero_outside_the_row():
    volume = torch.arange(1.0, 5.0).view(1, 1, 1, 4)
    assert window(volume, torch.tensor([[[-2]]]), 4).flatten().tolist() == [0, 0, 1, 2]
    assert window(volume, torch.tensor([[[3]]]), 4).flatten().tolist() == [4, 0, 0, 0]


def test_lookups_fade_out_at_the_border():
    volume = torch.ones(1, 1, 1, 6)
    found = lookup(volume, torch.tensor([[[0.25]]])).flatten()
    assert found.tolist() == pytest.approx([0, 0, 0, 0.25, 1, 1, 1, 1, 1])


def test_lookups_move_with_the_position():
    volume = torch.arange(20.0).view(1, 1, 1, 20)
    position = torch.tensor([[[9.5]]], requires_grad=True)
    found = lookup(volume, position)
    assert found.flatten().tolist() == [9.5 + k for k in range(-4, 5)]
    found[0, 4].sum().backward()
    assert position.grad.item() == 1


def test_the_logit_is_bounded_by_its_margin():
    found = clamped_logit(torch.tensor([0.0, 0.5, 1.0]), 0.1)
    assert found.tolist() == pytest.approx([log(1 / 9), 0, log(9)], abs=1e-6)


def test_mixing_picks_the_neighbour_with_the_highest_weight():
    maps = torch.arange(9.0).view(1, 1, 3, 3)
    logits = torch.full((1, 9, 12, 12), -100.0)
    logits[:, 5] = 100.0  # the right neighbour
    mixed = mix_neighbours(maps, logits)
    expected = torch.tensor([[1.0, 2, 2], [4, 5, 5], [7, 8, 8]]).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert torch.equal(mixed[0, 0], expected)

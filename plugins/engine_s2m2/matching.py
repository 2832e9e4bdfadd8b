"""Matching the two views by their correlation: optimal transport with dustbins, and the first estimates."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from engine_s2m2.correlation import window

ROUNDS = 3
MASKED = -1e4
WINDOW = 2
STABILISER = 1e-4


def right_of_pixel(width: int, device: torch.device) -> Tensor:
    """(width, width) bool: pairs [i, j] with j > i, which would be matches of negative disparity."""
    return torch.ones(width, width, dtype=torch.bool, device=device).triu(1)


def transport(correlation: Tensor, positivity: bool) -> Tensor:
    """Matching probabilities P (B, H4, w, w) by three rounds of optimal transport with dustbins.

    correlation: K (B, H4, w, w) float32. Rows and columns of P sum to at most 1; the rest is the dustbin's share. With
    `positivity` pairs of negative disparity have probability 0.
    """
    width = correlation.shape[-1]
    if positivity:
        forbidden = right_of_pixel(width, correlation.device)
        correlation = correlation.masked_fill(forbidden, MASKED)
    scores = F.pad(correlation, (0, 1, 0, 1))  # the dustbin's score is 0, not learned
    marginal = scores.new_full((width + 1,), -log(2 * width))
    marginal[-1] = log(0.5)
    # Each half of a round brings all columns, or all rows, to their marginal: what has been added to them before
    # cancels in the normalisation. `logsumexp` would be several times slower, as its exponential stumbles over every
    # score that underflows.
    for _ in range(ROUNDS - 1):
        scores = scores.log_softmax(-2) + marginal
        scores = scores.log_softmax(-1) + marginal.unsqueeze(-1)
    scores = scores.log_softmax(-2) + marginal
    # The rows' last marginal, 1 / (2 * width), and the scale of P, 2 * width, cancel.
    plan = scores.softmax(-1)[..., :-1, :-1]
    return plan.masked_fill(forbidden, 0.0) if positivity else plan


def first_estimates(plan: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Disparity, confidence and visibility (B, 1, H4, W4) from matching probabilities P (B, H4, w, w).

    The disparity is the mean of P over five columns around its maximum, in quarter-resolution px and possibly slightly
    negative; the confidence is the mass in that window; the visibility is the mass that did not go to the dustbin.
    """
    width = plan.shape[-1]
    best = plan.detach().argmax(-1)
    near = window(plan, best - WINDOW, 2 * WINDOW + 1)
    offsets = torch.arange(-WINDOW, WINDOW + 1, device=plan.device, dtype=plan.dtype)
    mass = near.sum(-1)
    moment = (near * (best.unsqueeze(-1) + offsets)).sum(-1)
    columns = torch.arange(width, device=plan.device, dtype=plan.dtype)
    disparity = columns - (moment + STABILISER) / (mass + STABILISER)
    return disparity.unsqueeze(1), mass.unsqueeze(1), plan.sum(-1).unsqueeze(1)

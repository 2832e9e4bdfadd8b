"""The norm that is waited for and the one that stays on the device are torch's own, and scale the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.training.clipping import clip

SHAPES = ((3, 4), (5,), (2, 3, 3), ())


def parameters(size: float = 1.0) -> list[Tensor]:
    """Parameters with gradients, and one that has none."""
    numbers = torch.Generator().manual_seed(0)
    made = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for each in made:
        each.grad = size * torch.randn(each.shape, generator=numbers)
    return [*made, nn.Parameter(torch.zeros(2))]


def gradients(made: list[Tensor]) -> list[Tensor]:
    return [each.grad for each in made if each.grad is not None]


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3, float("nan"), float("inf")])
@pytest.mark.parametrize("bound", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize("waits", [True, False])
def test_gradients_are_scaled_as_torch_scales_them(size: float, bound: float, waits: bool) -> None:
    ours, theirs = parameters(size), parameters(size)

    norm = clip(ours, bound, waits)

    expected = nn.utils.clip_grad_norm_(theirs, bound)
    assert torch.equal(torch.as_tensor(norm, dtype=torch.float32).nan_to_num(1), expected.nan_to_num(1))
    pairs = zip(gradients(ours), gradients(theirs), strict=True)
    assert all(torch.equal(one.nan_to_num(1), other.nan_to_num(1)) for one, other in pairs)


@pytest.mark.parametrize("waits", [True, False])
def test_without_a_bound_the_norm_is_told_and_nothing_is_scaled(waits: bool) -> None:
    made = parameters(1e3)
    before = [each.clone() for each in gradients(made)]

    assert float(clip(made, None, waits)) > 1e3

    assert all(torch.equal(one, other) for one, other in zip(gradients(made), before, strict=True))


@pytest.mark.parametrize("waits", [True, False])
def test_without_gradients_the_norm_is_zero(waits: bool) -> None:
    assert float(clip([nn.Parameter(torch.zeros(2))], 1.0, waits)) == 0

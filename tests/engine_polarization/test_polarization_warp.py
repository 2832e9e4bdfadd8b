import pytest
import torch
import torch.nn.functional as F
from engine_polarization.warp import hidden, warp
from hypothesis import given, settings
from hypothesis import strategies as st


def _picture(seed=0, height=3, width=11, channels=2) -> torch.Tensor:
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(2, 300))
def test_disparity_zero_returns_the_picture_bit_for_bit(seed, width):
    right = _picture(seed, width=width)
    warped, inside = warp(right, torch.zeros(2, 1, 3, width))
    assert torch.equal(warped, right)
    assert inside.all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(-12, 12))
def test_whole_disparities_shift_exactly_and_leave_zeros_outside(seed, shift):
    right = _picture(seed)
    warped, inside = warp(right, torch.full((2, 1, 3, 11), float(shift)))
    for x in range(11):
        source = x - shift
        expected = right[..., source] if 0 <= source <= 10 else torch.zeros_like(right[..., 0])
        assert torch.equal(warped[..., x], expected)
        assert bool(inside[..., x].all()) == (0 <= source <= 10)


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 5, width=32))
def test_a_ramp_is_sampled_exactly_between_pixels(disparity):
    ramp = torch.arange(11.0).expand(1, 1, 2, 11)
    warped, inside = warp(ramp, torch.full((1, 1, 2, 11), disparity))
    assert torch.allclose(warped[inside], (ramp - disparity)[inside], atol=1e-5)


def test_it_agrees_with_bilinear_sampling_on_corner_aligned_grids():
    right, disparity = _picture(), 4 * torch.rand(2, 1, 3, 11)
    warped, inside = warp(right, disparity)
    x = 2 * (torch.arange(11.0) - disparity[:, 0]) / 10 - 1
    y = torch.linspace(-1, 1, 3)[None, :, None].expand_as(x)
    sampled = F.grid_sample(right, torch.stack((x, y), -1), align_corners=True)
    chosen = inside.expand_as(right)
    assert torch.allclose(warped[chosen], sampled[chosen], atol=1e-5)


def test_gradients_agree_with_finite_differences():
    right = _picture().double().requires_grad_()
    # Away from whole numbers, where linear interpolation has a kink.
    disparity = (torch.randint(0, 4, (2, 1, 3, 11)) + 0.2 + 0.6 * torch.rand(2, 1, 3, 11)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda r, d: warp(r, d)[0], (right, disparity))


def test_an_unknown_disparity_looks_outside():
    disparity = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0]).reshape(1, 1, 1, 4)
    warped, inside = warp(torch.ones(1, 1, 1, 4), disparity)
    assert inside.flatten().tolist() == [False, False, False, True]
    assert warped.flatten().tolist() == [0, 0, 0, 1]


def test_it_computes_in_float32_whatever_comes_in():
    warped, _ = warp(_picture().bfloat16(), torch.zeros(2, 1, 3, 11).bfloat16())
    assert warped.dtype == torch.float32


def test_a_nearer_surface_hides_the_background_at_the_place_where_it_lands():
    disparity = torch.zeros(1, 1, 1, 12)
    disparity[..., 6:9] = 4  # lands on columns 2 to 4 of the right view
    assert hidden(disparity).flatten().nonzero().flatten().tolist() == [2, 3, 4]
    assert not hidden(disparity, tolerance=4).any()


@pytest.mark.parametrize("unknown", [torch.nan, torch.inf])
def test_unknown_pixels_hide_nothing(unknown):
    disparity = torch.zeros(1, 1, 1, 5)
    disparity[..., 4] = unknown
    assert not hidden(disparity)[..., :4].any()


def test_slopes_hide_nothing():
    assert not hidden(torch.linspace(0, 9, 30).expand(1, 1, 1, 30)).any()

"""Losses without ground truth are least at the true disparity, and teach it; edges are compared as edges."""

import pytest
import torch
import torch.nn.functional as F
from engine_stereo import options, photometric

from engine.prediction import Prediction


def scene(disparity: float = 6.0, height: int = 24, width: int = 64) -> dict:
    numbers = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 3, height // 3 + 1, (width + 12) // 3 + 1, generator=numbers)
    wide = 255 * F.interpolate(texture, size=(height, width + 12), mode="bilinear", align_corners=False)
    shift = int(disparity)
    return {
        "left": wide[..., :width],
        "right": wide[..., shift : shift + width],
        "disparity": torch.full((1, 1, height, width), disparity),
        "valid": torch.ones(1, 1, height, width, dtype=torch.bool),
    }


def losses() -> dict:
    return {
        "photometric": photometric.Photometric(options.PhotometricOptions()),
        "smoothness": photometric.Smoothness(options.SmoothnessOptions()),
        "edges": photometric.Edges(options.EdgeOptions()),
    }


@pytest.mark.parametrize("structure", [0.0, 0.85, 1.0])
def test_the_right_view_moved_by_the_truth_is_the_left_one(structure):
    batch = scene()
    loss = photometric.Photometric(options.PhotometricOptions(structure=structure))
    errors = [loss(Prediction(batch["disparity"] + off), batch).item() for off in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert errors[2] == pytest.approx(0, abs=1e-5)
    assert errors[0] > errors[1] > errors[2] < errors[3] < errors[4]


def test_pixels_without_a_partner_are_left_out():
    batch = scene()
    moved, mask = photometric.moved_right(batch["right"], batch["disparity"])
    assert (mask.sum(-1) == 64 - 6).all()
    assert torch.allclose(moved[..., 6:], batch["left"][..., 6:], atol=1e-3)
    outside = Prediction(torch.full_like(batch["disparity"], 1000.0).requires_grad_())
    loss = losses()["photometric"](outside, batch)
    assert loss.item() == 0
    loss.backward()


def test_the_right_view_is_moved_as_bilinear_sampling_moves_it():
    numbers = torch.Generator().manual_seed(1)
    right = torch.rand(2, 3, 5, 16, generator=numbers)
    disparity = (torch.rand(2, 1, 5, 16, generator=numbers) * 24 - 4).requires_grad_()
    moved, _ = photometric.moved_right(right, disparity)
    place = torch.arange(16) - disparity[:, 0]
    rows = torch.linspace(-1, 1, 5)[None, :, None].expand_as(place)
    grid = torch.stack([2 * place / 15 - 1, rows], -1)
    expected = F.grid_sample(right, grid, padding_mode="border", align_corners=True)
    assert torch.allclose(moved, expected, atol=1e-5)
    weight = torch.rand(moved.shape, generator=numbers)
    own, theirs = (torch.autograd.grad((each * weight).sum(), disparity)[0] for each in (moved, expected))
    assert torch.allclose(own, theirs, atol=1e-4)


def test_an_estimate_that_is_no_number_makes_the_loss_none_and_ends_no_process():
    batch = scene()
    value = batch["disparity"].clone()
    value[..., 3, 20] = torch.nan
    value.requires_grad_()
    loss = losses()["photometric"](Prediction(value), batch)
    loss.backward()
    assert loss.isnan()


def test_a_disparity_is_learnt_without_its_truth():
    batch = scene()
    batch["valid"][:] = False
    value = torch.full_like(batch["disparity"], 4.5).requires_grad_()
    optimizer = torch.optim.Adam([value], lr=0.07)
    terms = losses()
    for _ in range(60):
        optimizer.zero_grad()
        (
            terms["photometric"](Prediction(value), batch) + 0.02 * terms["smoothness"](Prediction(value), batch)
        ).backward()
        optimizer.step()
    error = (value.detach() - batch["disparity"]).abs()[..., 8:].mean().item()
    assert error < 0.4, f"1.5 px became {error:.2f}"


def test_a_step_costs_less_where_the_picture_has_one():
    calm, busy = torch.full((1, 3, 8, 8), 100.0), torch.full((1, 3, 8, 8), 100.0)
    busy[..., 4:] = 200.0
    step = torch.zeros(1, 1, 8, 8)
    step[..., 4:] = 3.0
    smooth = losses()["smoothness"]
    costs = [smooth(Prediction(step), {"left": left}).item() for left in (calm, busy)]
    assert costs[0] == pytest.approx(3 / 7 / 2)
    assert costs[1] < 0.1 * costs[0]
    assert smooth(Prediction(torch.full_like(step, 9.0)), {"left": busy}).item() == 0


def test_edges_ask_for_the_changes_of_the_truth_and_not_for_its_level():
    batch = scene()
    batch["disparity"] = batch["disparity"].clone()
    batch["disparity"][..., 32:] += 10
    loss = losses()["edges"]
    assert loss(Prediction(batch["disparity"] + 3), batch).item() == pytest.approx(0, abs=1e-6)
    blurred = F.avg_pool2d(F.pad(batch["disparity"], (4, 4, 0, 0), mode="replicate"), (1, 9), 1)
    assert loss(Prediction(blurred), batch).item() > 0.1
    batch["disparity"][..., 28:36], batch["valid"][..., 28:36] = torch.inf, False
    assert loss(Prediction(blurred), batch).item() == pytest.approx(0, abs=1e-6)


def test_every_one_has_a_finite_gradient_under_autocast():
    batch = scene()
    for name, loss in losses().items():
        value = (batch["disparity"] + torch.rand_like(batch["disparity"])).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            loss(Prediction(value), batch).backward()
        assert value.grad.isfinite().all(), name
        assert value.grad.abs().sum() > 0, name

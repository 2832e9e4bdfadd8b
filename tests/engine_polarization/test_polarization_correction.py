import pytest
import torch
import torch.nn.functional as F
from engine_polarization.correction import PolarizationCorrection
from engine_polarization.options import CorrectionOptions
from engine_polarization.warp import warp
from pydantic import ValidationError

from engine.prediction import Prediction

HEIGHT, WIDTH = 24, 32


def _small(**options) -> PolarizationCorrection:
    torch.manual_seed(0)
    return PolarizationCorrection(
        CorrectionOptions(**({"max_correction": 3.0, "width": 16, "dilations": [1, 2, 1]} | options))
    )


def _scenes(samples: int, seed: int, height=HEIGHT, width=WIDTH) -> tuple[dict, Prediction]:
    """A base that is 2 px short on polarised squares of a polarised slope, where nothing else tells."""
    generator = torch.Generator().manual_seed(seed)
    shape = (samples, 1, height, width)
    texture = F.avg_pool2d(torch.randn(samples, 1, height + 4, width + 4, generator=generator), 5, 1)
    glass = torch.zeros(shape, dtype=torch.bool)
    for sample in range(samples):
        top, left = (int(torch.randint(2, size // 2, (), generator=generator)) for size in (height, width))
        glass[sample, :, top : top + height // 3, left : left + width // 3] = True
    truth = torch.full(shape, 4.0) + 2 * glass
    right = torch.cat((0.05 * texture, 0.05 * texture.flip(-1)), 1)
    left, _ = warp(right, truth)
    left = left + 0.2 * glass * torch.tensor([1.0, -0.5]).reshape(1, 2, 1, 1)
    batch = {
        "polarization_left": left,
        "polarization_right": right,
        "disparity": truth,
        "valid": torch.ones(shape, dtype=torch.bool),
        "transparent": glass,
    }
    return batch, Prediction(torch.full(shape, 4.0))


def test_a_fresh_module_learns_first_in_its_head():
    batch, base = _scenes(2, 0)
    module = _small()
    (module(batch, base, batch["disparity"]).value - batch["disparity"]).abs().mean().backward()
    assert module.head.weight.grad.abs().max() > 0
    assert all((parameter.grad == 0).all() for parameter in module.encoder.parameters())
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"encoder", "head"}


def test_the_correction_is_the_bound_times_tanh():
    batch, base = _scenes(2, 0)
    module = _small()
    torch.nn.init.normal_(module.head.weight, std=100.0)
    prediction = module(batch, base, batch["disparity"])
    assert prediction.raw.abs().max() > 100
    assert torch.equal(prediction.correction, 3.0 * torch.tanh(prediction.raw))


def test_the_head_stays_in_float32_under_autocast():
    batch, base = _scenes(2, 0)
    module = _small()
    torch.nn.init.constant_(module.head.bias, 5.0)  # tanh of this is exactly 1 in bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = module(batch, base, batch["disparity"])
    assert prediction.raw.dtype == prediction.correction.dtype == torch.float32
    assert prediction.correction.max() < 3.0
    prediction.correction.sum().backward()
    assert module.head.bias.grad.abs().min() > 0


def test_the_correction_sends_its_gradient_on_to_the_base_value_only():
    batch, base = _scenes(2, 0)
    base.value.requires_grad_()
    alignment = batch["disparity"].clone().requires_grad_()
    module = _small()
    torch.nn.init.normal_(module.head.weight)
    module(batch, base, alignment).value.sum().backward()
    assert (base.value.grad == 1).all()
    assert alignment.grad is None


def test_correctable_pixels_are_valid_and_seen_by_both_views():
    valid = torch.ones(1, 1, 1, 8, dtype=torch.bool)
    valid[..., 7] = False
    batch = {"disparity": torch.tensor([[[[0.0, 2, 0, 0, -4, 0, 0, 0]]]]), "valid": valid}
    module = _small()
    assert module.correctable(batch).flatten().tolist() == [True, False, True, True, False, True, True, False]
    batch["occluded"] = torch.arange(8).reshape(1, 1, 1, 8) == 2
    assert not module.correctable(batch)[..., 2]


def test_a_few_steps_repair_what_only_polarisation_shows():
    def error(module, batch, base) -> float:
        with torch.no_grad():
            prediction = module(batch, base, base.value)
        return (prediction.value - batch["disparity"]).abs()[batch["transparent"]].mean().item()

    train, base = _scenes(16, seed=1)
    held_out, held_out_base = _scenes(8, seed=2)
    results = {}
    for name, batch, judged in (
        ("signal", train, held_out),
        ("blank", train | _blank(train), held_out | _blank(held_out)),
    ):
        module = _small()
        optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
        for _ in range(60):
            loss = F.smooth_l1_loss(module(batch, base, base.value).value, batch["disparity"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        results[name] = error(module, judged, held_out_base)
    assert error(_small(), held_out, held_out_base) == pytest.approx(2.0)
    assert results["signal"] < 0.7
    assert (
        results["blank"] > 1.0
    )  # squares are likelier in the middle, which is all that a blank signal leaves to learn


def _blank(batch: dict) -> dict:
    return {name: torch.zeros_like(batch[name]) for name in PolarizationCorrection.signal}


@pytest.mark.parametrize("wrong", [{}, {"max_correction": 0}, {"max_correction": 1, "layers": 3}])
def test_options_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        CorrectionOptions(**wrong)

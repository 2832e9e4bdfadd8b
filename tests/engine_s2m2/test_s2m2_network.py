"""What the network promises to the engine."""

from contextlib import contextmanager

import pytest
import torch
from engine_s2m2 import attention, correlation
from engine_s2m2.blocks import GELU, left_half
from engine_s2m2.losses import ConfidenceLoss, DisparityLoss, PMCLoss, VisibilityLoss
from engine_s2m2.network import S2M2, SIZES, build
from engine_s2m2.options import ConfidenceOptions, DisparityOptions, PMCOptions, S2M2Options, VisibilityOptions
from engine_s2m2.padding import Padding
from torch.overrides import TorchFunctionMode

from engine.errors import InputError


def made(**options) -> S2M2:
    torch.manual_seed(0)
    return build(S2M2Options(**options))


def batch_of(height: int = 64, width: int = 96, images: int = 2, shift: int = 8) -> dict[str, torch.Tensor]:
    left = torch.rand(images, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255
    occluded = torch.zeros(images, 1, height, width, dtype=torch.bool)
    occluded[..., :shift] = True
    return {
        "left": left,
        "right": left.roll(-shift, -1),
        "disparity": torch.full((images, 1, height, width), float(shift)),
        "valid": torch.ones(images, 1, height, width, dtype=torch.bool),
        "occluded": occluded,
    }


def losses():
    return (
        PMCLoss(PMCOptions()),
        DisparityLoss(DisparityOptions()),
        VisibilityLoss(VisibilityOptions()),
        ConfidenceLoss(ConfidenceOptions()),
    )


def test_training_returns_every_estimate_on_the_way():
    prediction = made().train()(batch_of())
    assert prediction.value.shape == prediction.confidence.shape == prediction.visibility.shape == (2, 1, 64, 96)
    assert [tuple(estimate.shape) for estimate in prediction.intermediates] == [(2, 1, 16, 24)] * 4
    assert {name: tuple(tensor.shape) for name, tensor in prediction.features.items()} == {
        "transport": (2, 16, 24, 24),
        "initial_confidence": (2, 1, 16, 24),
        "initial_visibility": (2, 1, 16, 24),
        "confidences": (2, 2, 1, 16, 24),
        "visibilities": (2, 2, 1, 16, 24),
    }


def test_intermediates_are_in_pixels_of_the_full_resolution():
    network = made().eval()
    batch = batch_of()
    with torch.no_grad():
        estimates = network.estimate(batch["left"], batch["right"])
        intermediates = network.train()(batch).intermediates
    assert all(torch.equal(ours, 4 * theirs) for ours, theirs in zip(intermediates, estimates.disparities, strict=True))


def test_training_and_evaluation_give_the_same_numbers():
    network, batch = made(), batch_of()
    with torch.no_grad():
        trained, evaluated = network.train()(batch), network.eval()(batch)
    assert torch.equal(trained.value, evaluated.value)
    assert not evaluated.features


@contextmanager
def bands_of(numbers: int, monkeypatch):
    """Evaluation in bands of so many numbers, whose squares of rows, and of attention, are in the set afterwards."""
    sizes = set()

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and made.ndim == 4 and made.shape[-1] == made.shape[-2]:
                sizes.add(tuple(made.shape))
            return made

    for module in (correlation, attention):
        monkeypatch.setattr(module, "BAND", numbers)
    with torch.no_grad(), Watch():
        yield sizes


@pytest.mark.parametrize("images", [1, 2])
def test_evaluation_in_bands_gives_the_same_bits(monkeypatch, images):
    network, batch = made().eval(), batch_of(96, 288, images)  # no map has 72 or 27 channels
    with bands_of(2**30, monkeypatch) as sizes:
        whole = network(batch)
    assert {(images, 24, 72, 72), (2 * images, 8, 27, 27)} <= sizes
    with bands_of(images * 72 * 72 * 5, monkeypatch) as sizes:  # five rows, of which 24 is no multiple
        banded = network(batch)
    assert (images, 5, 72, 72) in sizes
    assert (images, 24, 72, 72) not in sizes
    for name in ("value", "confidence", "visibility"):
        assert torch.equal(getattr(banded, name), getattr(whole, name))
    with bands_of(1, monkeypatch) as sizes:
        smallest = network(batch)
    assert max(rows for _, rows, _, width in sizes if width == 72) == 1
    assert {heads for _, heads, _, width in sizes if width == 27} == {1}
    torch.testing.assert_close(smallest.value, whole.value, rtol=0, atol=1e-4)


def test_outputs_are_within_their_ranges():
    with torch.no_grad():
        prediction = made().eval()(batch_of())
    assert prediction.value.min() >= 0
    for share in (prediction.confidence, prediction.visibility):
        assert share.min() >= 0
        assert share.max() <= 1 + 1e-5


def test_without_positivity_matches_to_the_right_are_possible():
    prediction = made(use_positivity=False).train()(batch_of())
    assert prediction.features["transport"].triu(1).sum() > 0
    assert made().train()(batch_of()).features["transport"].triu(1).sum() == 0


@pytest.mark.parametrize("size", [(100, 150), (33, 64), (64, 95)])
def test_images_of_any_size_are_padded_and_cropped(size):
    with torch.no_grad():
        prediction = made().eval()(batch_of(*size))
    assert prediction.value.shape[-2:] == size
    assert prediction.value.isfinite().all()


def test_padding_leaves_the_result_where_it_was():
    network, batch = made().eval(), batch_of(70, 100)
    padding = Padding(70, 100)
    with torch.no_grad():
        whole = network.match(padding.pad(batch["left"]), padding.pad(batch["right"]))[0]
        assert whole.shape[-2:] == (96, 128)
        assert torch.equal(network(batch).value, whole[..., 13:83, 14:114])


def test_training_refuses_sizes_without_whole_quarter_pixels():
    with pytest.raises(InputError, match=r"100 x 150 px.*multiples of 32"):
        made().train()(batch_of(100, 150))


@pytest.mark.parametrize("mode", [True, False])
def test_images_smaller_than_the_network_sees_are_refused(mode):
    with pytest.raises(InputError, match=r"at least 32 px.*multiples of 32"):
        made().train(mode)(batch_of(31, 64))


@pytest.mark.parametrize("use_positivity", [True, False])
def test_every_parameter_learns_from_the_four_losses(use_positivity):
    network, batch = made(use_positivity=use_positivity).train(), batch_of()
    prediction = network(batch)
    sum(loss(prediction, batch) for loss in losses()).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    broken = [name for name, p in network.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    assert without == []
    assert broken == []


def test_checkpointing_changes_memory_and_nothing_else():
    gradients = []
    for checkpointing in (False, True):
        network, batch = made(checkpointing=checkpointing).train(), batch_of(32, 64, 1)
        network(batch).value.mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        if plain is not None:
            torch.testing.assert_close(plain, recomputed)


def test_the_gradient_of_the_left_half_keeps_the_channels_last():
    both = torch.rand(4, 3, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.equal(left_half(both), both[:2])
    (gradient,) = torch.autograd.grad(left_half(both).square().sum(), both)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(gradient, torch.cat((2 * both[:2], 0 * both[2:])))


def test_gelu_keeps_the_channels_last_and_its_numbers():
    maps = torch.randn(1, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    assert GELU()(maps).is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(GELU()(maps), torch.nn.functional.gelu(maps), atol=1e-6)


def test_bfloat16_autocast_stays_close_and_keeps_matching_in_float32():
    network, batch = made().train(), batch_of()
    with torch.no_grad():
        full = network(batch)
        with torch.autocast("cpu", torch.bfloat16):
            reduced = network(batch)
    assert reduced.value.dtype == reduced.features["transport"].dtype == torch.float32
    assert (full.value - reduced.value).abs().median() < 0.1
    assert (full.confidence - reduced.confidence).abs().mean() < 0.02
    assert (full.visibility - reduced.visibility).abs().mean() < 0.02


def test_losses_and_gradients_are_finite_under_autocast():
    network, batch = made().train(), batch_of()
    with torch.autocast("cpu", torch.bfloat16):
        prediction = network(batch)
        total = sum(loss(prediction, batch) for loss in losses())
    assert total.dtype == torch.float32
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_a_pass_under_inference_mode_does_not_disturb_training():
    network, batch = made(), batch_of(32, 64, 1)
    with torch.inference_mode():
        network.eval()(batch)
    network.train()(batch).value.mean().backward()


def test_an_untrained_network_starts_from_its_matches():
    with torch.no_grad():
        prediction = made().train()(batch_of())
    initial, *later = prediction.intermediates
    assert all((estimate - initial).abs().mean() < 8 for estimate in later)


@pytest.mark.parametrize(("size", "rounds"), [("nano", 2), ("S", 3)])
def test_refinement_rounds_default_to_the_size(size, rounds):
    with torch.device("meta"):
        assert build(S2M2Options(size=size)).iterations == rounds
        assert build(S2M2Options(size=size, refine_iter=5)).iterations == 5


def test_without_refinement_the_filled_matches_are_the_answer():
    prediction = made(refine_iter=0).train()(batch_of(32, 64, 1))
    assert len(prediction.intermediates) == 2
    assert "confidences" not in prediction.features


def test_every_size_can_be_outlined_without_memory():
    with torch.device("meta"):
        assert all(p.is_meta for size in SIZES.values() for p in S2M2(size).parameters())


def test_double_resolution_output_doubles_the_disparity():
    network, batch = made().eval(), batch_of()
    with torch.no_grad():
        plain = network.match(batch["left"], batch["right"])[0]
        double = network.match(batch["left"], batch["right"], output_upsample=True)[0]
    assert double.shape[-2:] == (128, 192)
    assert double.mean().item() == pytest.approx(2 * plain.mean().item(), rel=0.02)

"""With the same stand-in weights and images, this network gives the figures that the published one gave."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_s2m2.network import S2M2, SIZES
from engine_s2m2.padding import Padding
from engine_s2m2.positional import attended_positions
from s2m2_stand_in import fill, image_pair
from torch import Tensor

PARITY = Path(__file__).parents[2].parent / "shared/specs/s2m2_parity.npz"
needs_parity = pytest.mark.skipif(not PARITY.exists(), reason="the recorded tensors are not part of the project")

# size, height, width, images, use_positivity, output_upsample
CASES = {
    "S_pos": ("S", 128, 160, 1, True, False),
    "S_neg": ("S", 128, 160, 1, False, False),
    "M_pos": ("M", 128, 160, 1, True, False),
    "M_neg": ("M", 128, 160, 1, False, False),
    "S_pos_b2": ("S", 64, 96, 2, True, False),
    "S_pos_up2": ("S", 128, 160, 1, True, True),
}

# mean and population standard deviation of disparity (px), visibility and confidence
FIGURES = {
    "S_pos": ((6.275565, 4.307557), (0.736904, 0.193671), (0.699288, 0.102801)),
    "S_pos_b2": ((4.362547, 2.949343), (0.776879, 0.173008), (0.735069, 0.108959)),
}

_networks: dict[str, S2M2] = {}


@pytest.fixture(autouse=True, scope="module")
def _forget_networks():
    yield
    _networks.clear()


def network(size: str, use_positivity: bool) -> S2M2:
    if size not in _networks:
        with torch.device("meta"):
            outline = S2M2(SIZES[size])
        _networks[size] = fill(outline.to_empty(device="cpu"))
    _networks[size].use_positivity = use_positivity
    return _networks[size].eval()


def everything(case: str) -> dict[str, Tensor]:
    """All tensors of one pass under their recorded names."""
    size, height, width, images, use_positivity, output_upsample = CASES[case]
    net = network(size, use_positivity)
    found: dict[str, Tensor] = {}
    rounds = {"corr1": [], "corr2": [], "hidden": []}
    listened = {
        net.cnn_backbone: lambda _, x, y: found.update(cnn_4x=y[0], cnn_2x=y[1]),
        net.feat_pyramid.enc3s[0]: lambda _, x, y: found.update(pyr_enc3_0=y),
        net.feat_pyramid: lambda _, x, y: found.update(zip(("py_4x", "py_8x", "py_16x", "py_32x"), y, strict=True)),
        net.transformer.uformer_list[0]: lambda _, x, y: found.update({f"mrt0_z{i}": z for i, z in enumerate(y)}),
        net.transformer: lambda _, x, y: found.update(tr_4x=y),
        net.disp_init: lambda _, x, y: found.update(cv=y.whole),
        net.feat_fusion_layer: lambda _, x, y: found.update(fusion_4x=y),
        net.ctx_feat: lambda _, x, y: found.update(ctx=y),
        net.refiner.corr_feat1: lambda _, x, y: rounds["corr1"].append(x[0]),
        net.refiner.corr_feat2: lambda _, x, y: rounds["corr2"].append(x[0]),
        net.refiner.gru: lambda _, x, y: rounds["hidden"].append(y),
        net.upsample_mask_4x_refine: lambda _, x, y: found.update(mask4x=y),
        net.upsample_mask_1x: lambda _, x, y: found.update(mask1x=y, disp_up4=x[0]),
    }
    hooks = [module.register_forward_hook(listen) for module, listen in listened.items()]
    with torch.no_grad():
        estimates = net.estimate(*image_pair(height, width, images), output_upsample)
    for hook in hooks:
        hook.remove()
    initial, filled, *refined = estimates.disparities
    found.update(init_disp=initial, init_conf=estimates.initial_confidence, init_occ=estimates.initial_visibility)
    found.update(global_disp=filled)
    rounds.update(disp=refined, conf=estimates.confidences, occ=estimates.visibilities)
    found.update({f"{name}_it{i}": tensor for name, tensors in rounds.items() for i, tensor in enumerate(tensors)})
    found.update(zip(("out_disp", "out_occ", "out_conf"), estimates.final, strict=True))
    return found


@needs_parity
@pytest.mark.parametrize("case", CASES)
def test_every_recorded_tensor_is_reproduced(case):
    found = everything(case)
    with np.load(PARITY) as recorded:
        tensors = json.loads(recorded["meta_json"].tobytes())["cases"][case]["tensors"]
        for name, facts in tensors.items():
            assert list(found[name].shape) == facts["shape"], name
            ours = found[name].reshape(-1)[:: facts["stride"]].numpy()
            worst = np.abs(ours - recorded[f"{case}.{name}"]).max()
            assert worst <= max(1e-4, 5 * facts["fp64_maxdiff"]), f"{name} differs by {worst:.2g}"


@pytest.mark.parametrize("case", FIGURES)
def test_the_outputs_have_the_recorded_mean_and_spread(case):
    size, height, width, images, use_positivity, _ = CASES[case]
    with torch.no_grad():
        outputs = network(size, use_positivity).match(*image_pair(height, width, images))
    for output, (mean, spread) in zip(outputs, FIGURES[case], strict=True):
        assert output.mean().item() == pytest.approx(mean, abs=2e-5)
        assert output.std(correction=0).item() == pytest.approx(spread, abs=2e-5)


@needs_parity
def test_the_positional_term_is_the_recorded_one():
    pixels = 4 * 5
    # Head j attends from every pixel to pixel j alone, and so reads R[:, j].
    attention = torch.eye(pixels)[None, :, None, :].expand(1, pixels, pixels, pixels).contiguous()
    found = attended_positions(attention, 4, 5)[0].transpose(0, 1)
    with np.load(PARITY) as recorded:
        assert np.abs(found[:, ::3].numpy() - recorded["pe.h4_w5"]).max() < 1e-5


@needs_parity
def test_padding_fills_the_margin_as_recorded():
    left, _ = image_pair(100, 150, 1)
    with np.load(PARITY) as recorded:
        found = Padding(100, 150).pad(left).reshape(-1)[::7].numpy()
        assert np.abs(found - recorded["pad.left_100x150_stride7"]).max() < 1e-3

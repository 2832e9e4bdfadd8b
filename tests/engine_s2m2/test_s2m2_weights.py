"""The network holds exactly the tensors of the published checkpoints."""

import json
from pathlib import Path

import pytest
import torch
from engine_s2m2.network import S2M2, SIZES

KEYS = Path(__file__).parents[2].parent / "shared/specs/s2m2_state_dict.json"

TENSORS = {"S": 660, "M": 940, "L": 1220, "XL": 1220}
PARAMETERS = {
    "cnn_backbone": (542_864, 1_133_072, 1_944_464, 4_230_800),
    "feat_pyramid": (6_632_128, 18_459_264, 39_106_176, 87_953_856),
    "transformer": (7_965_440, 35_815_680, 95_470_080, 214_721_280),
    "disp_init": (256, 384, 512, 768),
    "upsample_mask_1x": (30_041, 34_137, 38_233, 46_425),
    "upsample_mask_4x_refine": (258_825, 312_073, 365_321, 471_817),
    "global_refiner": (2_877_441, 6_466_561, 11_489_281, 25_835_521),
    "feat_fusion_layer": (934_528, 2_102_208, 3_736_832, 8_406_912),
    "refiner": (7_226_496, 16_072_768, 28_441_600, 63_746_944),
    "ctx_feat": (33_024, 74_112, 131_584, 295_680),
}


def outline(size: str) -> S2M2:
    with torch.device("meta"):
        return S2M2(SIZES[size])


@pytest.mark.parametrize("size", TENSORS)
def test_every_module_has_the_published_number_of_parameters(size):
    network = outline(size)
    found = {name: sum(p.numel() for p in module.parameters()) for name, module in network.named_children()}
    assert found == {name: counts[list(TENSORS).index(size)] for name, counts in PARAMETERS.items()}
    assert len(network.state_dict()) == TENSORS[size]
    assert not list(network.buffers())


@pytest.mark.skipif(not KEYS.exists(), reason="the list of published tensors is not part of the project")
@pytest.mark.parametrize("size", TENSORS)
def test_every_tensor_has_the_published_name_and_shape(size):
    published = json.loads(KEYS.read_text())
    column = published["sizes"].index(size)
    expected = {key: shapes[column] for key, shapes in published["keys"].items() if shapes[column] is not None}
    assert {key: list(tensor.shape) for key, tensor in outline(size).state_dict().items()} == expected


def test_nano_has_the_tensors_of_s_at_smaller_shapes():
    nano = outline("nano").state_dict()
    assert nano.keys() == outline("S").state_dict().keys()
    assert sum(tensor.numel() for tensor in nano.values()) == 1_749_019

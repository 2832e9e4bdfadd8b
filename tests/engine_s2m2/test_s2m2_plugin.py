"""What the plugin registers, and that registering costs nothing."""

import subprocess
import sys
from functools import cache

import pytest
import torch
from engine_s2m2 import plugin
from engine_s2m2.network import build
from engine_s2m2.options import S2M2Options

from engine import testing
from engine.prediction import Prediction


def registered(hook) -> dict[str, tuple]:
    found = {}
    hook(lambda name, options, factory, **more: found.update({name: (options, factory, more)}))
    return found


def test_registering_does_not_import_torch():
    code = (
        "import sys, engine_s2m2.plugin as p; p.engine_models(lambda *a, **k: None);"
        "p.engine_losses(lambda *a, **k: None); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_network_is_registered_with_its_target_and_weights():
    options, _, more = registered(plugin.engine_models)["s2m2"]
    assert more["target"] == "disparity"
    assert more["weights"]["nano-opaque"].parts[-3:] == ("engine_s2m2", "weights", "nano_opaque.safetensors")
    assert options().size == "nano"


def test_the_network_reaches_over_the_whole_width_and_below_0_only_where_that_is_allowed():
    options, _, more = registered(plugin.engine_models)["s2m2"]
    assert more["reach"](options(), (96, 128)) == (0, 128)
    assert more["reach"](options(use_positivity=False), (96, 128)) == (-128, 128)


def test_losses_have_the_names_that_recipes_use():
    assert set(registered(plugin.engine_losses)) == {
        "s2m2_pmc",
        "s2m2_disparity",
        "s2m2_visibility",
        "s2m2_confidence",
    }


def batch() -> dict[str, torch.Tensor]:
    """A pair of textures 8 px apart, whose first columns the right image does not see."""
    left = 255 * torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(1))
    occluded = torch.zeros(2, 1, 32, 64, dtype=torch.bool)
    occluded[..., :8] = True
    shift = torch.full((2, 1, 32, 64), 8.0)
    valid = torch.ones_like(occluded)
    return {"left": left, "right": left.roll(-8, -1), "disparity": shift, "valid": valid, "occluded": occluded}


@cache
def predicted() -> Prediction:
    torch.manual_seed(0)
    return build(S2M2Options()).train()(batch())


PROMISES = [
    *testing.model("s2m2", batch=batch),
    *(
        promise
        for loss in ("s2m2_pmc", "s2m2_disparity", "s2m2_visibility", "s2m2_confidence")
        for promise in testing.loss(loss, batch=batch, target="disparity", predicted=lambda fields: predicted())
    ),
]


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_it_keeps_its_promises(promise: testing.Check) -> None:
    promise()

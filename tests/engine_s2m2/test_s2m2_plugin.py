"""What the plugin registers, and that registering costs nothing."""

import importlib
import subprocess
import sys

import pydantic
import pytest
from engine_s2m2 import plugin


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


@pytest.mark.parametrize("hook", [plugin.engine_models, plugin.engine_losses])
def test_every_factory_builds_from_its_default_options(hook):
    for options, factory, _ in registered(hook).values():
        module, attribute = factory.split(":")
        assert callable(getattr(importlib.import_module(module), attribute)(options()))


def test_losses_have_the_names_that_recipes_use():
    assert set(registered(plugin.engine_losses)) == {
        "s2m2_pmc",
        "s2m2_disparity",
        "s2m2_visibility",
        "s2m2_confidence",
    }


def test_unknown_options_are_refused():
    for hook in (plugin.engine_models, plugin.engine_losses):
        for options, _, _ in registered(hook).values():
            with pytest.raises(pydantic.ValidationError, match="Extra inputs"):
                options(surprise=1)

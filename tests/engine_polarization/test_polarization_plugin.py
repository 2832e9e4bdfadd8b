import importlib
import subprocess
import sys

import engine_polarization.plugin as plugin
from pydantic import BaseModel

HOOKS = ("engine_injections", "engine_metrics", "engine_gates")


def test_everything_registered_can_be_built():
    found = {}

    def register(name, options, factory, **more):
        found[name] = (options, factory, more)

    for hook in HOOKS:
        getattr(plugin, hook)(register)
    assert set(found) == {"polarization", "correction", "saturation", "signal_use", "warp_gap"}
    for name, (options, factory, more) in found.items():
        assert issubclass(options, BaseModel)
        chosen = options(max_correction=2.0) if name == "polarization" else options()
        module, attribute = factory.split(":")
        getattr(importlib.import_module(module), attribute)(chosen)
        for names in more.values():
            assert all("/" in metric for metric in names(chosen))


def test_what_saturation_reads_is_what_the_diagnostics_produce():
    from engine_polarization import options

    region = "transparent&noc"
    produced = options.diagnostic_names(options.DiagnosticsOptions(region=region))
    assert set(options.saturation_needs(options.SaturationOptions(region=region))) <= set(produced)


def test_registering_imports_neither_torch_nor_numpy():
    code = (
        "import sys, engine_polarization.plugin as p\n"
        f"[getattr(p, hook)(lambda *a, **k: None) for hook in {HOOKS!r}]\n"
        "heavy = {'torch', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

import importlib
import subprocess
import sys

import engine_stereo.plugin as plugin
from engine_stereo.data.readers import READERS
from pydantic import BaseModel

HOOKS = ("engine_losses", "engine_metrics", "engine_datasets")


def _registered() -> dict:
    found = {}

    def register(name, options, factory, **more):
        found[name] = (options, factory, more)

    for hook in HOOKS:
        getattr(plugin, hook)(register)
    return found


def test_everything_registered_can_be_built_from_its_default_options():
    found = _registered()
    assert set(found) - set(READERS) == {
        "disparity_l1",
        "disparity_smooth_l1",
        "sequence",
        "initial_disparity",
        "photometric",
        "smoothness",
        "disparity_edges",
        "confidence_bce",
        "visibility_bce",
        "epe",
        "motorcycle",
        "augmented",
        "manifest",
    }
    for options, factory, more in found.values():
        assert issubclass(options, BaseModel)
        assert all(field.description for field in options.model_fields.values())
        if any(field.is_required() for field in options.model_fields.values()):
            continue  # data sets of files, which have tests of their own
        module, attribute = factory.split(":")
        getattr(importlib.import_module(module), attribute)(options())
        if "produces" in more:
            assert more["produces"](options()) == ["epe/all", "nonfinite/all"]


def test_registering_imports_neither_torch_nor_anything_it_does_not_need():
    code = (
        "import sys, engine_stereo.plugin as p\n"
        f"[getattr(p, hook)(lambda *a, **k: None) for hook in {HOOKS!r}]\n"
        "heavy = {'torch', 'numpy', 'skimage', 'matplotlib', 'PIL', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

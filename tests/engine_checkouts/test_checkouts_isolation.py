"""A checkout is imported and built as if it were alone, and leaves nothing behind, in the process or on the disk."""

from __future__ import annotations

import importlib
import logging
import os
import random
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from checkout_world import FOLDERS, copied, network, pair, trainable
from engine_checkouts.isolation import alone
from engine_checkouts.offline import offline

from engine.errors import WorldError

NAMES = {"core", "Utils", "dinov2", "hubconf", "opt_einsum", "open3d", "joblib"}


def test_two_checkouts_with_the_same_names_learn_in_one_process() -> None:
    both = [network("foundation_stereo"), network("raft_stereo"), network("foundation_stereo", seed=1)]
    for made in both:
        trainable(made)(pair())
    gradients = []
    for made in both:
        made(pair()).value.mean().backward()
        gradients.append(made.get_parameter("cnet.out.weight" if hasattr(made, "feature") else "fnet.0.weight").grad)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_nothing_is_left_of_a_checkout_in_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = ModuleType("core")
    monkeypatch.setitem(sys.modules, "core", ours)
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("raise AssertionError('somebody else')")
    monkeypatch.syspath_prepend(tmp_path)  # a regular package, which would hide the checkout's folder of that name
    handler = logging.NullHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])

    def state() -> tuple[object, ...]:
        root = logging.getLogger()
        modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in NAMES}
        return (
            modules,
            list(sys.path),
            list(sys.meta_path),
            list(root.handlers),
            root.level,
            dict(os.environ),
            importlib.reload,
            torch.hub.load,
            random.getstate(),
        )

    before = state()
    network()
    assert state() == before
    assert sys.modules["core"] is ours
    assert logging.getLogger().handlers == [handler]


def test_the_checkout_on_the_disk_is_not_touched(tmp_path: Path) -> None:
    folder = copied(FOLDERS["foundation_stereo"], tmp_path / "FoundationStereo")
    for stale in folder.rglob("__pycache__"):
        for file in stale.iterdir():
            file.unlink()
        stale.rmdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    network(checkout=folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_no_address_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    network()


def test_another_download_is_refused_and_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    early = torch.hub.load_state_dict_from_url  # as a package has it that was imported before
    with offline(tmp_path, {}):
        with pytest.raises(WorldError, match=r"asks for https://example.com/early.pth.*`parts`"):
            early("https://example.com/early.pth")
        with pytest.raises(WorldError, match=r"asks torch.hub for someone/else"):
            torch.hub.load("someone/else:main", "net")
        with pytest.raises(WorldError, match=r"asks for https://example.com/net.pth.*`parts`"):
            torch.hub.load_state_dict_from_url("https://example.com/net.pth")


TIMM = """
import torch
from huggingface_hub import hf_hub_download
from torch.hub import download_url_to_file

def create_model(name, pretrained=False, **more):
    return ENTRIES[name](pretrained)

def small(pretrained=False):
    if pretrained:
        hf_hub_download(repo_id="timm/small", filename="model.safetensors")
    return torch.nn.Conv2d(3, 3, 1)

def old(pretrained=False):
    if pretrained:
        download_url_to_file("https://example.com/old.pth", "old.pth")
    return torch.nn.Conv2d(3, 3, 1)

ENTRIES = {"small": small, "old": old}
"""


def test_timm_makes_networks_without_weights_under_all_its_names_and_downloads_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm, models = ModuleType("timm"), ModuleType("timm.models")
    exec(TIMM, vars(models))
    vars(timm).update(models=models, create_model=models.create_model)
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "timm.models", models)
    before = dict(vars(models))
    with offline(tmp_path, {}):
        from timm.models import create_model  # as the code of a checkout has it

        for create in (create_model, timm.create_model, timm.models.create_model):
            assert create("small", pretrained=True).out_channels == create("old", True).out_channels == 3
        with pytest.raises(WorldError, match=r"asks for timm/small, which would be downloaded; `parts`"):
            models.small(pretrained=True)
        with pytest.raises(WorldError, match=r"asks for https://example.com/old.pth"):
            models.old(pretrained=True)
    assert vars(models) == before


def test_a_package_that_is_not_there_is_named_when_it_is_called_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "scenes.py").write_text(
        "import absent_package.inner as a\nfrom absent_package import cloud\nK = a.MODE\n"
    )
    with alone(tmp_path, unused=["absent_package"]):
        scenes = importlib.import_module("scenes")
    assert "absent_package" not in sys.modules
    with pytest.raises(WorldError, match=r"calls absent_package.cloud, and the package 'absent_package' is not"):
        scenes.cloud()


def test_a_package_that_is_needed_is_named_at_once(tmp_path: Path) -> None:
    folder = copied(FOLDERS["raft_stereo"], tmp_path / "RAFT-Stereo")
    code = folder / "core" / "submodule.py"
    code.write_text("import absent_package\n" + code.read_text())
    with pytest.raises(
        WorldError, match="imports 'absent_package', which is not installed: pip install absent_package"
    ):
        network("raft_stereo", checkout=folder, changed={"needs": ["absent_package", "torch"]})

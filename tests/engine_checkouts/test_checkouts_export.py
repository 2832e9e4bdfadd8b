"""Networks from checkouts leave as ONNX files, although their authors test values as they compute."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import onnxruntime
import pytest
import torch
from checkout_world import FOLDERS, network, one_stage, pair, slanted_pair, tiny
from conftest import Command
from engine_checkouts.traced import Traced, along_row
from engine_deploy.export import export
from engine_deploy.measuring import tradeoff

import engine as library
from engine.errors import PluginError
from engine.system import System


def system(**more: Any) -> System:
    """The FoundationStereo stand-in as a system."""
    return System(network(**more), None, "disparity").eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[System, Path]:
    path, made = tmp_path_factory.mktemp("onnx") / "net.onnx", system(valid_iters=3)
    export(made, [slanted_pair(60, 90)], path)
    return made, path


def test_a_size_that_the_network_pads_is_part_of_the_graph(exported: tuple[System, Path]) -> None:
    made, path = exported
    about = json.loads(path.with_suffix(".json").read_text())
    assert [(each["name"], each["shape"], each["range"]) for each in about["inputs"]] == [
        ("left", [1, 3, 60, 90], [0.0, 255.0]),
        ("right", [1, 3, 60, 90], [0.0, 255.0]),
    ]
    assert (about["iterations"], about["injection"]) == (3, False)
    assert "RGB in 0..255" in about["normalisation"]
    batch = pair(60, 90, seed=3)
    runner = onnxruntime.InferenceSession(str(path))
    (value,) = runner.run(None, {name: batch[name].numpy() for name in ("left", "right")})
    with torch.no_grad():
        expected = made(batch).value
    torch.testing.assert_close(torch.from_numpy(value), expected, atol=1e-3, rtol=0)
    assert about["parity"]["max"]["value"] <= 1e-3


def test_stand_ins_give_the_same_numbers(exported: tuple[System, Path]) -> None:
    made, _ = exported
    with torch.no_grad():
        own = made(slanted_pair()).value
        with made.base.exportable():
            stood_in = made(slanted_pair()).value
    torch.testing.assert_close(stood_in, own, atol=1e-4, rtol=0)


def test_a_function_is_stood_in_for_only_meanwhile_and_one_that_is_not_there_is_left() -> None:
    module = ModuleType("core.geometry")
    module.bilinear_sampler = own = object()
    traced = Traced(
        {"core.geometry": module},
        {"core.geometry:bilinear_sampler": "along_row", "core.geometry:gone": "normalised", "core.gone:x": "along_row"},
    )
    for _ in range(2):
        with deepcopy(traced)():
            assert module.bilinear_sampler is along_row
        assert module.bilinear_sampler is own
    assert not hasattr(module, "gone")


def test_without_the_stand_ins_the_network_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="torch could not follow"):
        export(system(changed={"traced": {}}), [slanted_pair()], tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_iterations_and_scales_are_measured_on_a_run(engine: Command, tmp_path: Path) -> None:
    path = one_stage(tmp_path, "foundation_stereo", FOLDERS["foundation_stereo"])
    assert engine("run", path, *tiny(2)).code == 0
    (run,) = (tmp_path / "runs" / "foundation_stereo").iterdir()
    rows = tradeoff(run, "model.valid_iters", ["1", "3"], [1.0, 0.5], repeats=1)
    assert [(row["setting"], row["scale"]) for row in rows] == [("1", 1.0), ("1", 0.5), ("3", 1.0), ("3", 0.5)]
    whole = library.evaluate(library.load_recipe(run, ["model.valid_iters=1"]), weights=run).mean["epe/all"]
    assert rows[0]["mean"]["epe/all"] == whole
    assert len({row["mean"]["epe/all"] for row in rows}) == 4

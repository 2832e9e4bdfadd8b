"""An ONNX file answers what torch answers, or it is not there."""

from __future__ import annotations

import json
from pathlib import Path

import deploy_world
import engine_deploy.onnx_file
import onnx
import onnxruntime
import pytest
import torch
from conftest import Command
from deploy_world import rows, write_recipe
from engine_deploy.export import export, quantised

import engine

run, deploy = deploy_world.run, deploy_world.deploy


@pytest.fixture(scope="module")
def file(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's system with its injection, and the quantised file beside it."""
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    recipe = engine.load_recipe(run)
    export(engine.load_system(recipe, weights=run), engine.samples(recipe, 2), path)
    quantised(path)
    return path


def test_the_file_alone_answers_as_the_system_does_on_samples_that_it_was_not_made_with(file: Path, run: Path) -> None:
    about = json.loads(file.with_suffix(".json").read_text())
    assert [each["name"] for each in about["inputs"]] == ["image", "signal"]
    assert [each["name"] for each in about["outputs"]] == ["value", "confidence"]
    recipe = engine.load_recipe(run)
    system, runner = engine.load_system(recipe, weights=run), onnxruntime.InferenceSession(str(file))
    third = engine.samples(recipe, 3)[2]
    value, confidence = runner.run(None, {name: third[name].numpy() for name in ("image", "signal")})
    with torch.no_grad():
        expected = system(third)
    torch.testing.assert_close(torch.from_numpy(value), expected.value, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.from_numpy(confidence), expected.confidence, atol=1e-5, rtol=0)


def test_the_command_tells_what_it_wrote_and_how_far_it_is_from_torch_and_takes_another_size(
    deploy: Command, run: Path, tmp_path: Path
) -> None:
    done = deploy("export", run, tmp_path / "out" / "net.onnx", "--base-alone", "--size", "6x12")
    assert done.code == 0, done.err
    about = json.loads((tmp_path / "out" / "net.json").read_text())
    assert [(each["name"], each["shape"]) for each in about["inputs"]] == [("image", [1, 1, 6, 12])]
    assert about["outputs"][0]["shape"] == [1, 1, 6, 12]
    assert (about["injection"], about["parity"]["inputs"]) == (False, 4)
    assert 0 < about["parity"]["max"]["value"] <= 1e-3
    assert f"opset {about['opset']}" in done.out
    assert "takes image [1, 1, 6, 12] float32" in done.out
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["net.json", "net.onnx"]


def test_a_bound_that_is_no_number_lets_nothing_through(deploy: Command, run: Path, tmp_path: Path) -> None:
    assert deploy("export", run, tmp_path / "net.onnx", "--within", "nan", "--set", "model.trap=lies").code == 4
    assert list(tmp_path.iterdir()) == []


class Elsewhere(torch.Tensor):
    """Numbers of the CPU that say they are on another device."""

    device = torch.device("meta")


def test_the_file_answers_on_the_device_of_the_batch(file: Path, run: Path) -> None:
    (batch,) = engine.samples(engine.load_recipe(run))
    moved = {name: batch[name].as_subclass(Elsewhere) for name in ("image", "signal")}
    answer = engine_deploy.onnx_file.OnnxFile(file)(moved)
    assert answer.value.device.type == "meta"
    assert answer.confidence is not None
    assert answer.confidence.device.type == "meta"


@pytest.mark.parametrize(("trap", "by"), [("lies", "0.01"), ("void", "inf")])
def test_a_file_that_answers_otherwise_is_not_left_there(
    trap: str, by: str, deploy: Command, run: Path, tmp_path: Path
) -> None:
    done = deploy("export", run, tmp_path / "net.onnx", "--set", f"model.trap={trap}")
    assert done.code == 4
    assert f"answers otherwise than torch on 4 inputs: value by up to {by}" in done.err
    assert "at most 0.001 was asked. Nothing was written" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_torch_cannot_follow_is_named(deploy: Command, run: Path, tmp_path: Path) -> None:
    done = deploy("export", run, tmp_path / "net.onnx", "--set", "model.trap=branches")
    assert done.code == 1
    assert "torch could not follow the model wide to export it: " in done.err
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_files_are_measured_beside_what_was_trained(deploy: Command, run: Path, file: Path) -> None:
    eight = file.with_suffix(".int8.onnx")
    trained, whole, quantised = rows(deploy("compare", run, file, eight, "--repeats", "1", "--zipped", "--json"))
    assert [each["file"] for each in (trained, whole, quantised)] == ["as trained", "net.onnx", "net.int8.onnx"]
    error = engine.evaluate(engine.load_recipe(run), weights=run).mean["error"]
    assert trained["mean"]["error"] == pytest.approx(error, abs=1e-9)
    assert whole["mean"]["error"] == pytest.approx(error, abs=1e-5)
    assert 1e-6 < abs(quantised["mean"]["error"] - error) < 0.1 * error
    assert whole["bytes"] == file.stat().st_size
    assert 0 < whole["zipped"] < whole["bytes"]
    assert quantised["seconds"] > 0
    kinds = {each.data_type for each in onnx.load(eight).graph.initializer if each.dims and len(each.dims) > 1}
    assert onnx.TensorProto.UINT8 in kinds


def test_a_file_that_iterates_otherwise_than_the_recipes_model_is_told(deploy: Command, run: Path, file: Path) -> None:
    done = deploy("compare", run, file, "--repeats", "1", "--set", "model.rounds=2", "--json")
    assert [each["iterations"] for each in rows(done)] == [2, 1]
    assert "warning: net.onnx iterates 1 times and the recipe's model 2" in done.err
    assert "warning" not in deploy("compare", run, file, "--repeats", "1").err


def test_pictures_of_another_size_are_refused_in_words(deploy: Command, run: Path, file: Path) -> None:
    done = deploy("compare", run, file, "--set", "data.val.size=12")
    assert done.code == 2
    assert "takes 'image' of shape [1, 1, 8, 8], not [1, 1, 12, 12]" in done.err
    assert "--size HEIGHTxWIDTH" in done.err


def test_what_is_missing_is_named_with_the_extra(
    deploy: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_deploy.onnx_file, "find_spec", lambda name: None if name != "onnx" else True)
    done = deploy("export", run, tmp_path / "net.onnx")
    assert done.code == 1
    assert "need onnxscript and onnxruntime, not installed" in done.err
    assert 'pip install "experiment-engine[export]"' in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere", "net.onnx"], 2, "nowhere: the recipe cannot be read"),
        (["{recipe}", "net.bin"], 2, "net.bin is no name of an ONNX file"),
        (["{recipe}", "net.onnx", "--size", "64"], 2, "--size 64 is no size"),
        (["{recipe}", "net.onnx", "--size", "²x3"], 2, "--size ²x3 is no size"),
        (["{recipe}", "net.onnx", "--set", "model.hiden=3"], 2, "hidden"),
        (["{folder}", "net.onnx"], 2, "Is a directory"),
    ],
)
def test_mistakes_are_told_in_words(
    deploy: Command, tmp_path: Path, arguments: list[str], code: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"recipe": write_recipe(tmp_path), "folder": tmp_path}
    done = deploy("export", *(each.format(**places) for each in arguments))
    assert done.code == code
    assert says in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("told", ["{}", "[]", '{"inputs": []}', "{"])
def test_a_file_that_nothing_is_told_of_is_named(
    told: str, deploy: Command, run: Path, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.onnx").write_bytes(file.read_bytes())
    (tmp_path / "net.json").write_text(told)
    done = deploy("compare", run, tmp_path / "net.onnx")
    assert done.code == 1
    assert "net.json is damaged: " in done.err


def test_a_file_that_is_no_onnx_file_is_told_so(deploy: Command, run: Path, tmp_path: Path) -> None:
    assert "there is no file" in deploy("compare", run, tmp_path / "net.onnx").err
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    (tmp_path / "net.json").write_text('{"inputs": [1], "outputs": [1]}')
    done = deploy("compare", run, tmp_path / "net.onnx")
    assert done.code == 1
    assert "onnxruntime does not run" in done.err

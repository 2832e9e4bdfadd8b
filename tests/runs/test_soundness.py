"""`engine runs verify` finds what is wrong with a run's weight files, and how far the average is from the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Command, WriteRecipe, only_run
from safetensors.torch import load_file, save_file
from toy_world import STAGE_A

from engine.files import file_digest


@pytest.fixture
def run(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    path = toy_recipe(stage=[{**STAGE_A, "steps": 4}], train={"ema": 0.5, "checkpoint_every": 2, "keep": 2})
    assert engine("run", path).code == 0
    return only_run(tmp_path)


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor]], object], noted: bool = True) -> None:
    """A weights file of a checkpoint with other tensors, whose digest is noted anew or not."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    manifest = path.with_name("manifest.json")
    if noted:
        content = json.loads(manifest.read_text())
        content["files"][path.name] = file_digest(path)
        manifest.write_text(json.dumps(content))


def test_a_sound_run_is_told_so_file_by_file_with_the_distance_of_its_average(engine: Command, run: Path) -> None:
    done = engine("runs", "verify", run, "--json")
    assert done.code == 0, done.err
    found = {each["file"]: each for each in json.loads(done.out)}
    names = [f"stage-A/checkpoints/step-000000{step}" for step in (2, 4)]
    kept = [f"{name}/{file}" for name in names for file in ("weights.safetensors", "average.safetensors", "state.pt")]
    assert list(found) == [*kept, "stage-A/weights.safetensors"]
    assert all(each["digest"] == "as noted" and each["wrong"] == [] for each in found.values())
    last = run / names[1]
    average, raw = (load_file(last / f"{name}.safetensors") for name in ("average", "weights"))
    between, whole = (
        torch.cat([each.flatten().double() for each in parts]).norm()
        for parts in ([average[name] - raw[name] for name in raw], raw.values())
    )
    assert found[f"{names[1]}/average.safetensors"]["distance"] == pytest.approx(float(between / whole), rel=1e-6)
    assert float(between) > 0
    assert "sound" in engine("runs", "verify", run.name).out


@pytest.mark.parametrize(
    ("change", "noted", "told"),
    [
        (lambda tensors: tensors.popitem(), True, "1 tensors are missing"),
        (lambda tensors: tensors.update(odd=torch.zeros(2)), True, "1 tensors are unknown to the model: odd"),
        (lambda tensors: tensors.update({next(iter(tensors)): torch.zeros(7, 7)}), True, "of another shape"),
        (lambda tensors: next(iter(tensors.values())).fill_(float("nan")), True, "1 tensors are not finite"),
        (lambda tensors: next(iter(tensors.values())).add_(1), False, "it differs from its digest"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_ends_with_1(
    engine: Command, run: Path, change: Callable[[dict[str, torch.Tensor]], object], noted: bool, told: str
) -> None:
    rewritten(run / "stage-A" / "checkpoints" / "step-0000002" / "average.safetensors", change, noted)
    done = engine("runs", "verify", run)
    assert done.code == 1
    assert "1 of 7 files are not sound, first stage-A/checkpoints/step-0000002/average.safetensors" in done.err
    assert told in done.err


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("checkpoints/step-0000002/state.pt", "it is missing"),
        ("checkpoints/step-0000002/weights.safetensors", "it is missing"),
        ("checkpoints/step-0000002/average.safetensors", "it is missing"),
        ("weights.safetensors", "it is missing"),
        ("checkpoints/step-0000002/manifest.json", "manifest.json is missing, so that no run goes on from it"),
    ],
)
def test_what_is_missing_is_not_sound(engine: Command, run: Path, file: str, told: str) -> None:
    (run / "stage-A" / file).unlink()
    done = engine("runs", "verify", run, "--json")
    assert done.code == 1
    wrong = {each["file"]: each["wrong"] for each in json.loads(done.out) if each["wrong"]}
    files = ("weights.safetensors", "average.safetensors", "state.pt") if "manifest" in file else (Path(file).name,)
    assert wrong == {f"stage-A/{Path(file).with_name(name)}": [told] for name in files}


def test_a_damaged_manifest_is_told_as_that(engine: Command, run: Path) -> None:
    (run / "stage-A" / "checkpoints" / "step-0000002" / "manifest.json").write_text("{")
    done = engine("runs", "verify", run, "--json")
    assert done.code == 1
    (first, *_) = json.loads(done.out)
    assert "manifest.json is damaged" in first["wrong"][0]
    assert first["digest"] == "not noted"


def test_a_file_that_is_cut_short_and_a_run_without_weights_are_told(engine: Command, run: Path) -> None:
    weights = run / "stage-A" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    done = engine("runs", "verify", run)
    assert done.code == 1
    assert "is damaged or not a safetensors file" in " ".join(done.out.split())
    shutil.rmtree(run / "stage-A")
    assert engine("runs", "verify", run).code == 2

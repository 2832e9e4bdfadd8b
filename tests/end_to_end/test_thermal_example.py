"""The worked example of a thermal image, from its page: docs/examples/thermal.md."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command, events_of, only_run, weights_of
from test_documents import ROOT, commands

from engine import load_recipe, testing
from engine.prediction import Prediction

PAGE, FOLDER = "docs/examples/thermal.md", "docs/examples/thermal"
FILES = [ROOT / FOLDER / name for name in ("thermal_scenes.py", "thermal_correction.py")]
SIZE = {"height": 64, "width": 96}
SMALL = {
    **{f"data.{split}.of.{side}": size for split in ("train", "val") for side, size in SIZE.items()},
    "data.train.of.count": 4,
    "data.val.of.count": 3,
    "data.train.of.crop": [64, 96],
    "train.batch_size": 2,
    "stage.A.steps": 1,
    "stage.B.steps": 2,
    "stage.B.batch_size": 2,
    "stage.C.steps": 1,
    # three scenes are too few for a verdict
    "stage.B.gate.feasibility.accept": ["warn", "undetermined"],
}
SHRUNK = [part for key, value in SMALL.items() for part in ("--set", f"{key}={json.dumps(value)}")]


@pytest.fixture(scope="module")
def scenes() -> Any:
    """The data set of the recipe, small."""
    recipe = load_recipe(ROOT / FOLDER / "thermal.toml", SHRUNK[1::2])
    return recipe.registry.get("datasets", "thermal").build(recipe.data["val"].options)


@pytest.fixture(scope="module")
def simulation(scenes: Any) -> ModuleType:
    """The plugin file of the data set as the engine has loaded it."""
    return sys.modules[type(scenes).__module__]


def warm_things() -> dict[str, torch.Tensor]:
    """A room at 4 px, and before it a thing of 6 px that only the thermal cameras see, 3 K warmer."""
    numbers = torch.Generator().manual_seed(0)
    thing = torch.zeros(2, 1, 24, 32, dtype=torch.bool)
    thing[0, :, 6:18, 12:24], thing[1, :, 2:12, 10:20] = True, True
    truth = 4.0 + 2 * thing
    other = torch.zeros(2, 1, 24, 32)
    for sample, row, column in torch.nonzero(thing[:, 0]).tolist():
        other[sample, 0, row, column - 6] = 3.0
    noise = 0.05 * torch.randn(2, 2, 24, 32, generator=numbers)
    return {
        "thermal": 3.0 * thing + noise[:, :1],
        "thermal_other": other + noise[:, 1:],
        "disparity": truth,
        "valid": torch.ones_like(thing),
    }


def through_glass(fields: dict[str, torch.Tensor]) -> Prediction:
    """A base that sees the room behind the thing."""
    return Prediction(torch.full_like(fields["disparity"], 4.0))


OF = {"plugin": "polarized_scenes", "split": "val", "count": 3, **SIZE}
PROMISES = [
    *testing.injection(
        "thermal",
        {"max_correction": 4.0, "width": 8},
        batch=warm_things,
        target="disparity",
        base=through_glass,
        files=FILES,
    ),
    *testing.dataset("thermal", {"of": OF}, fields=("thermal", "thermal_other", "disparity"), files=FILES),
    *testing.dataset("thermal", {"of": {**OF, "split": "train", "crop": [48, 64]}}, files=FILES)[4:5],
]


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_data_set_and_injection_keep_their_promises(promise: testing.Check) -> None:
    promise()


def test_it_needs_no_truth_in_use() -> None:
    recipe = load_recipe(ROOT / FOLDER / "thermal.toml")
    assert recipe.injection is not None
    made = recipe.registry.get("injections", "thermal").build(recipe.injection.options)
    torch.nn.init.normal_(made.head.weight)
    fields = warm_things()
    base, alone = through_glass(fields), {name: fields[name] for name in made.signal}
    with torch.no_grad():
        assert torch.equal(made(alone, base, base.value).value, made(fields, base, base.value).value)


def test_glass_is_a_thing_of_its_own_to_the_cameras_and_both_agree_on_it_along_the_truth_alone(
    scenes: Any, simulation: ModuleType
) -> None:
    columns = np.arange(SIZE["width"])
    for index in range(3):
        sample = scenes.sample(index, None)
        truth, glass = sample["disparity"][0], sample["transparent"][0]
        seen = sample["valid"][0] & ~sample["occluded"][0]
        apart = []
        for off in (0.0, 3.0):
            rows = zip(columns - truth + off * glass, sample["thermal_other"][0], strict=True)
            there = np.stack([np.interp(place, columns, row) for place, row in rows])
            apart.append(np.abs(sample["thermal"][0] - there)[seen & glass].mean())
        assert apart[0] < 0.3, "K; borders of glass, where a pixel is half of the room, are part of it"
        assert apart[1] > 2 * apart[0]


def test_the_warmth_of_glass_is_an_option_and_its_share_of_mirrored_room_is_not(simulation: ModuleType) -> None:
    def contrast(**options: float) -> float:
        cold = {"glass": 0.0, "places": 0.0, "noise": 0.0, "blur": 0.0} | options
        view, _ = simulation.thermal_images(pane(), simulation.ThermalOptions.model_construct(**cold))
        inside = np.zeros((32, 48), dtype=bool)
        inside[12:20, 18:30] = True
        return float(abs(view[inside].mean() - view[:, :10].mean()))

    assert 0.005 < contrast() < 0.3, "as warm as the room, glass still mirrors more of what is above and below"
    assert contrast(glass=8.0) > 1.0


def pane() -> dict[str, Any]:
    """A sheet of glass at 12 px, tilted to mirror the ceiling, before a wall at 6 px."""
    glass = np.zeros((1, 32, 48), dtype=bool)
    glass[:, 8:24, 14:34] = True
    slope = np.linspace(-1.5, 1.5, 32, dtype=np.float32)[None, :, None]
    return {
        "disparity": np.where(glass, np.float32(12) + slope, np.float32(6)),
        "valid": np.ones_like(glass),
        "transparent": glass,
        "focal": np.float32(51.0),
        "baseline": np.float32(0.12),
        "id": "pane",
    }


def test_a_camera_shows_the_temperature_that_a_black_body_has(simulation: ModuleType) -> None:
    kelvin = np.linspace(250.0, 350.0, 11)
    assert np.allclose(simulation.temperature_of(simulation.planck(kelvin)), kelvin)
    assert simulation.planck(np.array(293.0)) == pytest.approx(0.00742, rel=0.01)  # 1 / (exp(14388 / 2930) - 1)


def test_it_learns_what_the_thermal_images_tell() -> None:
    torch.manual_seed(0)
    recipe = load_recipe(ROOT / FOLDER / "thermal.toml", ["injection.max_correction=4.0", "injection.width=8"])
    module = recipe.registry.get("injections", "thermal").build(recipe.injection.options)
    seen, errors = warm_things(), []
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(40):
        error = (module(seen, through_glass(seen), seen["disparity"]).value - seen["disparity"]).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.3 * errors[0]


def test_the_alignment_reaches_it_only_through_the_images() -> None:
    recipe = load_recipe(ROOT / FOLDER / "thermal.toml", ["injection.width=8"])
    module = recipe.registry.get("injections", "thermal").build(recipe.injection.options)
    torch.nn.init.normal_(module.head.weight)
    seen = warm_things()
    blank = {**seen, **{name: torch.zeros_like(seen[name]) for name in module.signal}}
    along = [torch.full_like(seen["disparity"], shift) for shift in (1.2, 1.8)]  # both leave columns 0 and 1 unseen
    with torch.no_grad():
        one, other = (module(blank, through_glass(seen), each).raw for each in along)
        assert torch.equal(one, other), "a stage aligned by the truth would copy it"
        one, other = (module(seen, through_glass(seen), each).raw for each in along)
    assert not torch.equal(one, other)


def test_every_command_of_its_page_runs_and_the_correction_sees_both_images(engine: Command, tmp_path: Path) -> None:
    shutil.copytree(ROOT / FOLDER, tmp_path / FOLDER)
    found = commands(PAGE)
    assert {words[0] for words in found} >= {"check", "check-feasibility", "run", "eval"}
    measured = []
    for words in found:
        runs = sorted((tmp_path / "runs").glob("thermal/*"))
        words = [word.replace("runs/thermal/RUN", str(runs[-1])) if runs else word for word in words]
        small = [] if words[0] == "check" else [*SHRUNK, "--json"] if words[0] == "eval" else SHRUNK
        done = engine(*words, *small)
        assert done.code == 0, f"{words}: {done.err}"
        measured += [json.loads(done.out)["mean"]["epe/all"]] if words[0] == "eval" else []

    run = only_run(tmp_path, "thermal")
    assert [event["name"] for event in events_of(run, "stage_finished")] == ["A", "B", "C"]
    notes = " ".join(event["text"] for event in events_of(run, "note"))
    assert "frozen outputs of 4 samples computed" in notes
    assert weights_of(run, "B")["injection.head.weight"].abs().max() > 0
    assert len(set(measured)) == len(measured) == 4, "what the thermal images show makes no difference"

"""The worked example of a base that nobody can train, from its page: docs/examples/black_box.md."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import Command, events_of, only_run, weights_of
from test_documents import ROOT, commands

from engine import load_recipe, testing
from engine.prediction import Prediction

PAGE, FOLDER = "docs/examples/black_box.md", "docs/examples/black_box"
SIZE = {"height": 64, "width": 96}
SMALL = {
    **{f"data.{split}.{side}": size for split in ("train", "val") for side, size in SIZE.items()},
    "data.train.count": 6,
    "data.val.count": 3,
    "data.train.crop": [48, 64],
    "train.batch_size": 3,
    "stage.B.steps": 12,
    "stage.C.steps": 4,
    # three scenes are too few for a verdict
    "stage.B.gate.feasibility.accept": ["undetermined"],
}
SHRUNK = [part for key, value in SMALL.items() for part in ("--set", f"{key}={json.dumps(value)}")]


def pictures() -> dict[str, torch.Tensor]:
    """Two textures that the right camera sees 6 px further left."""
    numbers = torch.Generator().manual_seed(0)
    left = 255 * torch.rand(2, 3, 24, 40, generator=numbers)
    truth = torch.full((2, 1, 24, 40), 6.0)
    return {"left": left, "right": left.roll(-6, -1), "disparity": truth, "valid": torch.ones(truth.shape).bool()}


def blind(fields: dict[str, torch.Tensor]) -> Prediction:
    """A matcher that finds nothing in the left columns, says so, and fills them with the farthest that it knows."""
    matched = torch.ones_like(fields["disparity"])
    matched[..., :14] = 0
    return Prediction(torch.where(matched > 0, fields["disparity"], 1.0), confidence=matched)


PROMISES = testing.injection(
    "box",
    {"max_correction": 8.0, "width": 8},
    batch=pictures,
    target="disparity",
    base=blind,
    files=[ROOT / FOLDER / "box_correction.py"],
)


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_the_injection_keeps_its_promises(promise: testing.Check) -> None:
    promise()


def test_it_learns_what_the_box_gets_wrong_from_outside_of_it() -> None:
    torch.manual_seed(0)
    recipe = load_recipe(ROOT / FOLDER / "black_box.toml", ["injection.max_correction=8.0", "injection.width=8"])
    module = recipe.registry.get("injections", "box").build(recipe.injection.options)
    seen, errors = pictures(), []
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(30):
        error = (module(seen, blind(seen), blind(seen).value).value - seen["disparity"]).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[0] > 1.0
    assert errors[-1] < 0.5 * errors[0]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / FOLDER, tmp_path / FOLDER)
    return tmp_path


def test_every_command_of_its_page_runs_and_the_box_is_asked_once(engine: Command, clone: Path) -> None:
    found = commands(PAGE)
    assert {words[0] for words in found} >= {"check", "plan", "check-feasibility", "run", "eval"}
    for words in found:
        runs = sorted((clone / "runs").glob("black_box/*"))
        words = [word.replace("runs/black_box/RUN", str(runs[-1])) if runs else word for word in words]
        done = engine(*words, *([] if words[0] == "check" else SHRUNK))
        assert done.code == 0, f"{words}: {done.err}"

    run = only_run(clone, "black_box")
    notes = [event["text"] for event in events_of(run, "note")]
    assert sum("frozen outputs of 6 samples computed" in text for text in notes) == 1
    assert sum("frozen outputs of 6 samples are read from" in text for text in notes) == 1
    assert all(name.startswith("injection.") for name in weights_of(run, "C"))
    after = [event["evaluation"] for event in events_of(run, "evaluated") if event["stage"] == "C"][-1]
    assert after["mean"]["epe/all"] < 0.95 * after["base_mean"]["epe/all"], "sixteen steps are enough for a beginning"


@pytest.mark.parametrize("block", range(2))
def test_what_its_page_says_of_training_the_box_is_what_the_engine_says(
    engine: Command, clone: Path, block: int
) -> None:
    """The page's text blocks hold a command after `$` and what it prints."""
    blocks = re.findall(r"```text\n\$ engine (.*?)\n(.*?)```", (ROOT / PAGE).read_text(), re.DOTALL)
    words, told = blocks[block]
    done = engine(*(word.strip("'") for word in words.split()))
    assert done.code == 2
    assert " ".join(done.err.split()).endswith(" ".join(told.split()))


def test_a_bound_that_is_too_small_is_refused_without_advice_to_train_the_box(engine: Command, clone: Path) -> None:
    gate = "stage.B.gate.feasibility"
    few = ("--set", f"{gate}.minimum_images=3", "--set", f"{gate}.minimum_scenes=3", "--set", f"{gate}.train_images=0")
    small = (*SHRUNK, "--set", "injection.max_correction=1.0", "--set", "data.val.height=96")
    done = engine("check-feasibility", f"{FOLDER}/black_box.toml", *small, *few)
    assert done.code == 4, done.out
    told = " ".join(done.out.split())
    assert "or take another base, since this one has nothing to train" in told

"""What README and the plugin guide tell people to type does what they say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import skimage
import torch
from conftest import Command, WriteRecipe
from pages import ROOT, commands
from PIL import Image
from toy_world import STAGE_A

SMALL = {
    "data.train.count": "4",
    "data.train.height": "64",
    "data.train.width": "96",
    "data.train.crop": "[64, 96]",
    "data.val.count": "3",
    "data.val.height": "64",
    "data.val.width": "96",
    "train.batch_size": "2",
    "stage.A.steps": "1",
    "stage.B.batch_size": "2",
    "stage.B.steps": "1",
    "stage.C.steps": "1",
    # three scenes are too few for a verdict, and the documented commands must go on to the end
    "stage.B.gate.feasibility.accept": '["warn", "undetermined"]',
}


def shrunk() -> list[str]:
    return [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The recipes beside the test's working directory, as in a clone."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    return tmp_path


@pytest.fixture
def pairs(project: Path) -> None:
    """A real pair of 185 x 125 px where the commands of the documents look for pairs."""
    for side in ("left", "right"):
        with Image.open(Path(skimage.__file__).parent / "data" / f"motorcycle_{side}.png") as shipped:
            small = shipped.resize((185, 125))
        for path in (f"{side}.png", f"{side}/1.png", f"pairs/1_{side}.png"):
            (project / path).parent.mkdir(exist_ok=True)
            small.save(project / path)


@pytest.mark.usefixtures("quick_processes", "pairs")
def test_every_command_of_the_readme_runs(engine: Command, project: Path) -> None:
    found = commands("README.md")
    run = engine("run", "recipes/s2m2_pol.toml", *shrunk())
    assert run.code == 0, run.err
    (folder,) = (project / "runs" / "s2m2_pol").iterdir()

    for words in found:
        if "--resume" in words:
            (folder / "status.json").unlink()
            shutil.rmtree(folder / "stage-C")
        if "recipes/*.toml" in words:
            words = ["check", *(str(path) for path in sorted(project.glob("recipes/*.toml")))]
        newest = max((project / "runs" / "s2m2_pol").iterdir())
        for name, place in (("runs/s2m2_pol/RUN", folder), ("runs/s2m2_pol/OTHER", newest)):
            words = [word.replace(name, str(place)) for word in words]
        small = shrunk() if "recipes/s2m2_pol.toml" in words and words[0] != "check" else []
        small = ["--set", "data.val.scale=0.2"] if "recipes/motorcycle.toml" in words and words[0] == "eval" else small

        fresh = ["--fresh"] if words[0] == "run" and "--resume" not in words else []  # not taken from the one before

        outcome = engine(*words, *small, *fresh)

        assert outcome.code == 0, f"{words}: {outcome.err}"

    assert len(found) >= 8


def test_every_command_of_the_page_on_reuse_runs(engine: Command, project: Path) -> None:
    for words in commands("docs/stage_reuse.md"):
        small = shrunk() if words[0] in ("plan", "run") and "--fresh" not in words else []
        words = [*words, "--help"] if "--fresh" in words else words  # every stage is trained in the one before

        outcome = engine(*words, *small)

        assert outcome.code == 0, f"{words}: {outcome.err}"


def test_every_command_of_the_page_on_comparing_runs(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(stage=[{**STAGE_A, "steps": 2}])
    for seed in ("0", "1"):
        assert engine("run", path, "--set", f"seed={seed}").code == 0
    names = dict(zip(("RUN", "OTHER"), map(str, (tmp_path / "runs" / "toy").iterdir()), strict=True))
    found = commands("docs/compare.md")
    for words in found:
        outcome = engine(*(names.get(word, word) for word in words))
        assert outcome.code == 0, f"{words}: {outcome.err}"
    assert len(found) == 4


@pytest.mark.usefixtures("pairs")
def test_every_command_of_the_page_on_predictions_runs(engine: Command, project: Path) -> None:
    for words in commands("docs/predict.md")[1:]:  # the first one stands in the readme
        assert engine(*words).code == 0
    assert sorted(path.name for path in (project / "runs" / "predict").iterdir()) == ["1", "1_left"]


def test_the_plugin_of_the_guide_is_checked_and_trained(engine: Command, project: Path) -> None:
    guide = (ROOT / "docs" / "plugins.md").read_text()
    (project / "my_correction.py").write_text(re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1])
    (project / "grey.toml").write_text(re.search(r"```toml\n(.*?)```", guide, re.DOTALL)[1])

    outcome = engine("run", "grey.toml", *shrunk())

    assert outcome.code == 0, outcome.err
    assert "feasibility" in outcome.out


def test_the_plugin_of_the_guide_keeps_the_promises_that_the_guide_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plugin, its_test = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)
    Path("my_correction.py").write_text(plugin)
    views = {side: torch.full((2, 3, 12, 16), shade) for side, shade in (("left", 90.0), ("right", 120.0))}
    shift = torch.rand(2, 1, 12, 16, generator=torch.Generator().manual_seed(0))
    told = {"batch": {**views, "disparity": shift, "valid": torch.ones(2, 1, 12, 16, dtype=torch.bool)}}
    exec(its_test, told)
    for check in told["CHECKS"]:
        check()

"""What the page on few labels tells people to type runs, and does what it says."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import Command, events_of, only_run
from engine_stereo.data.encodings import PRESETS, read_disparity

ROOT = Path(__file__).parents[2]
WORLD = "count = 48, transparent = false, width = 256, height = 160, noise = 0.03"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The recipes as in a clone, in small: few scenes, small pictures, two steps."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    changes = {
        WORLD: "count = 4, transparent = false, width = 96, height = 64",
        "width = 256\nheight = 160": "width = 96\nheight = 64",
        "count = 16": "count = 2",
        "count = 8 ": "count = 2 ",
        "count = 8\n": "count = 2\n",
        "crop = [96, 160]": "crop = [64, 96]",
        "steps = 60": "steps = 2",
        "steps = 50": "steps = 2",
    }
    for name in ("few_pairs", "self_supervised", "unlabelled", "unlabelled_mirrored", "pseudo_labels"):
        path = tmp_path / "recipes" / f"{name}.toml"
        text = path.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        assert "256" not in text.partition("[model]")[2]
        path.write_text(text)
    return tmp_path


def commands() -> list[list[str]]:
    """Every line of the page's sh blocks as words."""
    page = (ROOT / "docs" / "few_labels.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines]


def test_every_command_of_the_page_runs_and_the_student_learns_from_the_teachers_labels(
    engine: Command, project: Path
) -> None:
    found = commands()
    assert len(found) == 7
    for words in found:
        more = ["--set", "data.train.of.count=1"] if "data.train.of.count=4" in words else []
        if "runs/few_pairs/RUN" in words:  # the last one is the teacher
            newest = max((project / "runs" / "few_pairs").iterdir(), key=lambda run: run.name)
            words = [word.replace("runs/few_pairs/RUN", str(newest)) for word in words]
        outcome = engine(*words, *more)
        assert outcome.code == 0, f"{words}: {outcome.err}"

    labels = sorted((project / "runs/labels/pseudo_labels/disparity").iterdir())
    assert len(labels) == 2
    known = read_disparity(labels[0], PRESETS["middlebury"])[1]
    assert 0 < known.mean() < 1
    assert len((project / "runs/labels/figures.csv").read_text().splitlines()) == 3
    step = events_of(only_run(project, "pseudo_labels"), "step")[-1]
    assert step["step"] == 2

    again = engine("plan", "recipes/pseudo_labels.toml").out
    assert "reuse" in again
    figures = project / "runs/labels/figures.csv"
    figures.write_text(figures.read_text() + "\n")  # of another round: as many pairs, and the first is a labelled one
    again = engine("plan", "recipes/pseudo_labels.toml").out
    assert "the file data.train.of.sets.1.curate.figures changed" in " ".join(again.split())

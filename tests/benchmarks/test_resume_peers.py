"""The measurement of how trainers resume tells a run that came back from one that did not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import Imported
from forked import Forks


@pytest.fixture
def resume(imported: Imported) -> SimpleNamespace:
    """The scripts of benchmarks/resume."""
    return imported("resume", "compare", "ours", "table", "work")


@pytest.fixture
def folders(resume: SimpleNamespace, tmp_path: Path) -> tuple[Path, Path]:
    """An untouched run of three steps, and one resumed at step 2 that did the same."""
    untouched, resumed = tmp_path / "untouched", tmp_path / "resumed"
    for folder, attempt, steps in ((untouched, 0, (1, 2, 3)), (resumed, 1, (2, 3))):
        folder.mkdir()
        watch = resume.work.Watch(folder, attempt, None)
        for step in steps:
            watch.training(step, 1 / step, [step, step + 1])
        watch.finish({"weight": torch.tensor([0.0, 2.0])})
    return untouched, resumed


def test_a_run_that_went_on_as_if_nothing_had_happened_is_identical(
    resume: SimpleNamespace, folders: tuple[Path, Path]
) -> None:
    outcome = resume.compare.compare(*folders)

    assert outcome.identical
    assert resume.table.in_words(outcome) == "**identical** (2)"


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"step": 3, "loss": (0.25).hex(), "samples": [3, 4]}, "1/2 losses, same weights (2)"),
        ({"step": 3, "loss": (1 / 3).hex(), "samples": [4, 3]}, "2/2 losses, same weights, other samples (2)"),
        (None, "1/2 losses, same weights, other samples, 1 steps in place of 2 (2)"),
    ],
)
def test_a_step_that_differs_is_told(
    resume: SimpleNamespace, folders: tuple[Path, Path], step: dict[str, object] | None, told: str
) -> None:
    log = folders[1] / "steps-1.jsonl"
    log.write_text(log.read_text().splitlines()[0] + "\n" + (json.dumps(step) if step else ""))

    outcome = resume.compare.compare(*folders)

    assert not outcome.identical
    assert resume.table.in_words(outcome) == told


@pytest.mark.parametrize(("other", "told"), [(-0.0, "weights 0e+00"), (0.5, "weights 2e-01")])
def test_weights_are_compared_bit_for_bit(
    resume: SimpleNamespace, folders: tuple[Path, Path], other: float, told: str
) -> None:
    torch.save({"weight": torch.tensor([other, 2.0])}, folders[1] / "weights.pt")

    outcome = resume.compare.compare(*folders)

    assert not outcome.identical
    assert told in resume.table.in_words(outcome)


def test_a_resumed_run_that_makes_no_step_is_not_identical(resume: SimpleNamespace, folders: tuple[Path, Path]) -> None:
    (folders[1] / "steps-1.jsonl").unlink()

    outcome = resume.compare.compare(*folders)

    assert not outcome.identical
    assert resume.table.in_words(outcome) == "no step made, same weights"


def test_the_work_of_the_peers_is_killed_and_resumed_here(
    resume: SimpleNamespace, forks: Forks, tmp_path: Path
) -> None:
    variant = resume.work.VARIANTS["augmentation + dropout"]
    (tmp_path / "recipe.toml").write_text(resume.ours.recipe(SimpleNamespace(variant=variant, workers=0, flavour="")))

    def run(*words: str, attempt: int, stop: str | None) -> int:
        watch = json.dumps({"folder": str(tmp_path), "attempt": attempt, "stop": stop})
        return forks.run("run", "recipe.toml", *words, folder=tmp_path, RESUME_WATCH=watch).code

    assert run(attempt=0, stop="mid-epoch") == -9
    assert run("--resume", attempt=1, stop=None) == 0
    resume.ours.keep_weights(tmp_path)

    killed, resumed = ((tmp_path / f"steps-{attempt}.jsonl").read_text().splitlines() for attempt in (0, 1))
    assert (len(killed), len(resumed)) == (18, 20)
    assert killed[16:] == resumed[:2]
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert weights.keys() == resume.work.Network(0.0).state_dict().keys()

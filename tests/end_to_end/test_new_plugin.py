"""`engine new plugin`: what it writes installs, registers, passes its own tests, and trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from conftest import Command, events_of, only_run
from toy_world import STAGE_A, STAGE_B, STAGE_C, toml

from engine.cli.new import Kind

KINDS = get_args(Kind)
RECIPE = {
    "name": "toy",
    "model": {"plugin": "my-model"},
    "injection": {"plugin": "my-injection", "bound": 1.0},
    "data": {"train": {"plugin": "my-dataset"}, "val": {"plugin": "my-dataset", "split": "val", "count": 8}},
    "train": {"batch_size": 4, "losses": [{"name": "my-loss"}]},
    "evaluate": {"metrics": [{"name": "my-metric"}], "key": ["my-metric/mean"]},
    "tracker": [{"plugin": "my-tracker"}],
    "stage": [
        STAGE_A,
        {**STAGE_B, "gate": [{"check": "my-gate", "at": "exit", "metric": "my-metric/mean", "most": 9.0}]},
        STAGE_C,
    ],
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a distribution of each kind, and `site`, into which pip has installed them."""
    folder = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        made = [sys.executable, "-m", "engine", "new", "plugin", f"my-{kind}", "--kind", kind, "--out", str(folder)]
        subprocess.run(made, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*pip, "--target", str(folder / "site"), *(str(folder / f"my-{kind}") for kind in KINDS)], check=True
    )
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A Python module as a process of its own that finds what was installed."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_its_own_tests_pass(installed: Path) -> None:
    tests = [str(path) for path in sorted(installed.glob("my-*/tests/test_*.py"))]
    done = run(installed, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(tests) == len(KINDS)


def test_it_is_listed_with_its_version_hooks_and_options(installed: Path) -> None:
    listed = json.loads(run(installed, "engine", "plugins", "--json").stdout)
    assert listed["broken"] == []
    mine = {each["name"]: each for each in listed["plugins"] if each["name"].startswith("my_")}
    assert {name: each["hooks"] for name, each in mine.items()} == {
        "my_injection": ["engine_injections"],
        "my_model": ["engine_models"],
        "my_dataset": ["engine_datasets"],
        "my_gate": ["engine_gates"],
        "my_loss": ["engine_losses"],
        "my_metric": ["engine_metrics"],
        "my_tracker": ["engine_trackers"],
    }
    assert {(each["distribution"], each["version"]) for each in mine.values()} == {
        (f"my-{kind}", "0.1.0") for kind in KINDS
    }
    (injection,) = [each for each in listed["brought"] if each["name"] == "my-injection"]
    assert injection["options"]["properties"]["bound"]["description"].startswith("largest correction")


def test_a_recipe_of_them_trains_three_stages(installed: Path) -> None:
    (installed / "toy.toml").write_text(toml(RECIPE))
    done = run(installed, "engine", "run", "toy.toml")
    assert done.returncode == 0, done.stderr
    made = only_run(installed)
    assert [event["name"] for event in events_of(made, "stage_finished")] == ["A", "B", "C"]
    assert events_of(made, "gate_decided")[0]["verdict"]["status"] == "pass"
    told = [json.loads(line) for line in (made / "my-tracker.jsonl").read_text().splitlines()]
    assert told[-1] == {"status": "done"}


def test_its_readme_says_how_it_is_used_and_its_files_are_in_order(installed: Path) -> None:
    for kind in KINDS:
        page = (installed / f"my-{kind}" / "README.md").read_text()
        assert f'"my-{kind}"' in page
        assert "$" not in page
    checked = run(installed, "ruff", "check", "--no-cache", *(f"my-{kind}" for kind in KINDS))
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Thermal", "'Thermal' cannot name a package"),
        ("class", "'class' cannot name a package"),
        ("torch", "there is a Python module 'torch' already"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(engine: Command, tmp_path: Path, name: str, words: str) -> None:
    done = engine("new", "plugin", name, "--kind", "loss")
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / name).exists()


def test_nothing_is_written_over(engine: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = engine("new", "plugin", "mine", "--kind", "gate")
    assert done.code == 2
    assert "mine is there already" in done.err
    assert list((tmp_path / "mine").iterdir()) == []

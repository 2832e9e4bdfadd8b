"""`engine new plugin`: what it writes installs beside an installed engine, passes its own tests, and trains."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import get_args

import pytest
from conftest import Command, events_of, only_run, weights_of

from engine.cli.new import Kind

KINDS = get_args(Kind)
ROOT = Path(__file__).parents[2]
OWN = ("experiment_engine", "__editable__")
"""What installing the engine for development leaves in site-packages, which a stranger does not have."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment in which pip has installed the engine, and a distribution of each kind beside it.

    The environment is fresh but for links to the packages that the engine needs, which would take minutes to install.
    """
    folder = tmp_path_factory.mktemp("new")
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for path in (Path(each) for each in sys.path if Path(each).name == "site-packages"):
        for package in path.iterdir():
            own = package.name.startswith(OWN) or package.suffix == ".pth" or _is_a_plugin(package)
            if not own and not (site / package.name).exists():
                (site / package.name).symlink_to(package)
    source = folder / "source"  # where pip may leave what it builds
    source.mkdir()
    for part in ("engine", "plugins"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / part, source)
    pip(folder, source)
    for kind in KINDS:
        made = run(folder, "engine", "new", "plugin", f"my-{kind}", "--kind", kind)
        assert made.returncode == 0, made.stderr
    pip(folder, *(folder / f"my-{kind}" for kind in KINDS))
    return folder


def _is_a_plugin(package: Path) -> bool:
    """Whether it says that it is a plugin of the engine: one of the developer's own, from the tutorial."""
    entries = package / "entry_points.txt"
    return entries.is_file() and "[engine]" in entries.read_text()


def pip(folder: Path, *distributions: Path) -> None:
    """Install folders into the environment, without a network."""
    into = ["--python", str(folder / "venv" / "bin" / "python"), "install", "--quiet", "--no-deps", "--no-index"]
    command = [sys.executable, "-m", "pip", *into, "--no-build-isolation", *map(str, distributions)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A Python module as a process of that environment, outside of the clone."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [str(folder / "venv" / "bin" / "python"), "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_environment_has_the_engine_that_pip_installed_and_no_other(installed: Path) -> None:
    listed = json.loads(run(installed, "engine", "plugins", "--json").stdout)
    assert {each["distribution"] for each in listed["plugins"]} == {
        "experiment-engine",
        *(f"my-{kind}" for kind in KINDS),
    }
    (there,) = (installed / "venv" / "lib").glob("python*/site-packages/engine/__init__.py")
    assert not there.is_symlink()


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
    brought = {kind: (f"--{kind}", f"my-{kind}") for kind in ("model", "injection", "loss", "metric", "gate")}
    options = ("injection.bound=1.0", "data.val.count=8", 'tracker=[{ plugin = "my-tracker" }]')
    limit = ("stage.B.gate.my-gate.metric=my-metric/mean", "stage.B.gate.my-gate.most=9.0")
    flags = [word for pair in brought.values() for word in pair] + [f"--set={each}" for each in (*options, *limit)]
    made = run(installed, "engine", "new", "recipe", "toy.toml", "--data", "my-dataset", "--steps", "4", *flags)
    assert made.returncode == 0, made.stderr
    done = run(installed, "engine", "run", "toy.toml")
    assert done.returncode == 0, done.stderr
    made_run = only_run(installed)
    assert [event["name"] for event in events_of(made_run, "stage_finished")] == ["A", "B", "C"]
    assert events_of(made_run, "gate_decided")[0]["verdict"]["status"] == "pass"
    assert (weights_of(made_run, "B")["injection.head.weight"] != 0).any()
    told = [json.loads(line) for line in (made_run / "my-tracker.jsonl").read_text().splitlines()]
    assert told[-1] == {"status": "done"}


def test_its_readme_says_how_it_is_used_and_its_files_are_in_order(installed: Path) -> None:
    for kind in KINDS:
        page = (installed / f"my-{kind}" / "README.md").read_text()
        assert f'"my-{kind}"' in page
        assert "$" not in page
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", *(f"my-{kind}" for kind in KINDS)]
    checked = subprocess.run(ruff, cwd=installed, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Thermal", "'Thermal' cannot name a package"),
        ("class", "'class' cannot name a package"),
        ("torch", "there is a Python module 'torch' already"),
        ("photometric", "there is the loss 'photometric' of plugin"),
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

"""What every test shares: one thread, a cache of its own, toy recipes, and the command line in and out of process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import pytest
import torch
from forked import Forks, Outcome
from hypothesis import HealthCheck, settings
from safetensors.torch import load_file
from toy_world import RECIPE, merged, toml

from engine.cli import processes
from engine.cli.main import main
from engine.runs import verify

# Tests on real files, on the checkouts of published networks and in a browser (`make test-browser`) are collected where
# the environment says where those are.
REAL = {
    "ENGINE_SHARED_DATA": "*/test_stereo_real_*.py",
    "ENGINE_CHECKOUTS": "*/test_checkouts_real.py",
    "ENGINE_BROWSER": "browser/*",
}
collect_ignore_glob = [files for variable, files in REAL.items() if not os.environ.get(variable)]

torch.set_num_threads(1)

# Deadlines and slow draws measure the machine, which may be busy, and not the code under test.
settings.register_profile("engine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("engine")


BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

Command = Callable[..., Outcome]
Imported = Callable[..., SimpleNamespace]
Installed = Callable[[str, str], Path]
WriteRecipe = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["ENGINE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop(
        "COLUMNS", None
    )  # which the processes of xdist set: what a pipe is given is as wide as it is for users


@pytest.fixture
def toy_recipe(tmp_path: Path) -> WriteRecipe:
    """toy_recipe(file=..., key=table, ...): the toy recipe with tables changed, written to the test's folder."""

    def write(file: str = "toy.toml", **changes: Any) -> Path:
        path = tmp_path / file
        path.write_text(toml(merged(RECIPE, changes)))
        return path

    return write


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """engine("run", recipe, ...): the command line in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["engine", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Command:
    """process("run", recipe, ...): the command line as a process of its own, without a terminal."""

    def run(*arguments: object, launcher: tuple[str, ...] = ("-m", "engine"), **more: str) -> Outcome:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
        done = subprocess.run(
            [sys.executable, *launcher, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """installed(name, code): a plugin as pip installs it, for this process; the folder is what PYTHONPATH needs."""

    def install(name: str, code: str) -> Path:
        site = tmp_path / f"site-{name}"
        about = site / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[engine]\n{name} = {name}_plugin\n")
        (site / f"{name}_plugin.py").write_text(code)
        monkeypatch.setattr(sys, "path", [sys.path[0], str(site), *sys.path[1:]])
        monkeypatch.delitem(sys.modules, f"{name}_plugin", raising=False)
        return site

    return install


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """forks.run("run", recipe, folder=...): the command line as a process of its own that starts at once."""
    with Forks() as made:
        yield made


@pytest.fixture
def quick_processes(forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """`engine verify-resume` forks its processes, which spares each the seconds that an interpreter takes to start."""

    def process(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        done = forks.run(*arguments, folder=Path.cwd(), **variables)
        return done.code, done.err

    monkeypatch.setattr(verify, "process", process)


@pytest.fixture
def two(engine: Command, forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """two("run", recipe, ..., KEY=VALUE): with `--processes 2`, processes that start at once; the keys are theirs."""
    monkeypatch.setattr(processes, "START", "forkserver")
    monkeypatch.setattr(processes, "_work", forked.work)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(*arguments: object, **environment: str) -> Outcome:
        (tmp_path / "environment.json").write_text(json.dumps(environment))
        return engine(*arguments, "--processes", "2")

    return run


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Imported]:
    """imported("step", "measure", ...): scripts of benchmarks/step; such short names stay for no other test to find."""

    def load(folder: str, *names: str) -> SimpleNamespace:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        monkeypatch.syspath_prepend(str(BENCHMARKS / folder))
        return SimpleNamespace(**{name: import_module(name) for name in names})

    yield load
    for name, module in list(sys.modules.items()):
        if BENCHMARKS in Path(getattr(module, "__file__", None) or "").parents:
            del sys.modules[name]


def only_run(folder: Path, name: str = "toy") -> Path:
    """The one run directory under `folder`."""
    (run,) = (folder / "runs" / name).iterdir()
    return run


def events_of(run: Path, kind: str = "") -> list[dict[str, Any]]:
    """The events of a run, all or of one kind."""
    found = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [event for event in found if kind in ("", event["event"])]


def weights_of(run: Path, stage: str) -> dict[str, torch.Tensor]:
    """What a stage handed on."""
    return load_file(run / f"stage-{stage}" / "weights.safetensors")


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes; the system cuts the write that would, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

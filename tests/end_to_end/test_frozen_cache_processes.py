"""Of several processes of a run the first computes what the frozen base answers, and all end alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import Command, WriteRecipe, only_run, weights_of
from test_frozen_cache import CACHED, QUIET, run_of, told
from toy_world import merged

LATE = '''
"""Data that the first process reads late, and a signal to the second one while the first computes."""
import os, signal, time
from pathlib import Path
from engine.hookspecs import hookimpl
from toy_plugin import DataOptions, ToyData

RANK = os.environ.get("RANK", "0")
Path(f"process-{RANK}").write_text(str(os.getpid()))

class Late(ToyData):
    def sample(self, index, rng):
        if RANK == "0" and "LATE" in os.environ:
            time.sleep(0.02)
        return super().sample(index, rng)

@hookimpl
def engine_datasets(register):
    register("late", DataOptions, Late)

@hookimpl
def engine_note(event):
    if "frozen outputs" in event.text and str(event.details.get("done")) == os.environ.get("STOP_OTHER_AT"):
        os.kill(int(Path("process-1").read_text()), signal.SIGTERM)
'''


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's outputs are kept."""
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "frozen"


@pytest.fixture
def late(toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    """A recipe that caches such data, for two processes."""
    (tmp_path / "late.py").write_text(LATE)
    path = toy_recipe(**merged(CACHED, {"train": {"batch_size": 2}, "data": {"train": {"plugin": "late"}}}))
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "late.py"'))
    return path


def test_a_signal_to_the_process_that_waits_stops_the_one_that_computes(
    two: Command, late: Path, tmp_path: Path, cache: Path
) -> None:
    stopped = two("run", late, ENGINE_CACHE=str(cache.parent), STOP_OTHER_AT="9")
    assert stopped.code == 5, stopped.err
    assert "computing 24 frozen outputs" in stopped.err
    assert not list(cache.glob("*.zarr*"))
    resumed = two("run", late, "--resume", ENGINE_CACHE=str(cache.parent))
    assert resumed.code == 0, resumed.err
    assert told(only_run(tmp_path)) == ["computed"]


def test_what_the_first_process_cannot_keep_is_refused_by_both(two: Command, late: Path, cache: Path) -> None:
    refused = two("run", late, ENGINE_CACHE=str(cache.parent), ENGINE_CACHE_GB="1e-6")
    assert refused.code == 2
    assert refused.err.count("the frozen outputs take up to 0.00 GB") == 1, refused.err


def test_two_processes_of_one_run_read_what_the_first_of_them_computed(
    two: Command, engine: Command, late: Path, toy_recipe: WriteRecipe, tmp_path: Path, cache: Path
) -> None:
    done = two("run", late, ENGINE_CACHE=str(cache.parent), LATE="1")
    assert done.code == 0, done.err
    assert told(only_run(tmp_path)) == ["computed"], "whoever comes first, the one that tells computes"
    assert len(list(cache.glob("*.zarr"))) == 1
    assert engine("run", toy_recipe(**QUIET), "--runs", "alone").code == 0
    one, both = weights_of(run_of(tmp_path / "alone"), "B"), weights_of(only_run(tmp_path), "B")
    for name in one:  # two processes add up a batch in another order than one
        torch.testing.assert_close(both[name], one[name], atol=1e-4, rtol=1e-3)

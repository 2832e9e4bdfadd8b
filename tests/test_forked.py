"""The tests' own quick processes behave as processes do."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from conftest import WriteRecipe, only_run
from forked import Forks
from toy_world import STAGE_A


def test_a_forked_command_ends_as_its_process_ends(forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    done = forks.run("run", toy_recipe(stage=[STAGE_A]), folder=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "stage A" in done.out
    assert only_run(tmp_path)
    refused = forks.run("run", "absent.toml", folder=tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert "absent.toml" in refused.err


def test_a_forked_command_is_killed_by_a_signal_and_by_its_time(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    endless = toy_recipe(stage=[{**STAGE_A, "steps": 1_000_000}])
    running = forks.start("run", endless, folder=tmp_path)
    running.signal(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    with pytest.raises(TimeoutError):
        forks.start("run", endless, folder=tmp_path).wait(0.1)

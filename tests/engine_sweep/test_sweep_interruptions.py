"""A sweep that is stopped, killed, or short of disk, with one worker and with several: what the same command finds."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from conftest import Forks, WriteRecipe
from engine_sweep.command import LOCK
from engine_sweep.space import Swept
from engine_sweep.study import ask, open_study, queue, take_up
from engine_sweep.sweep import Sweep
from sweep_world import RANGE, folder, found, recipe, trained

from engine.files import is_held

ONE_RANGE = Swept("key", "uniform", 0.0, 1.0)
SIX = ["--set", RANGE, "--trials", "6", "--prune-after", "2"]


def told(runs: Path) -> list[dict[str, object]]:
    """The trials without what no two sweeps share."""
    return [{**trial, "run": "", "seconds": 0} for trial in found(runs)["trials"]]


def test_six_trials_interrupted_killed_and_gone_on_with_are_those_of_an_undisturbed_sweep(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    sweep = ["sweep", path, *SIX, "--runs"]
    undisturbed = forks.run(*sweep, "quiet", folder=tmp_path)
    assert undisturbed.code == 0, undisturbed.err

    stopped = forks.run(*sweep, "runs", folder=tmp_path, SWEEP_STOP="9 SIGINT self")
    assert stopped.code == 5, stopped.err
    assert "stopped by SIGINT" in stopped.err
    assert "at step 3 of stage C; 1 of 6 trials are over: the same command goes on" in stopped.err
    assert len(found(tmp_path / "runs")["trials"]) == 1
    killed = forks.run(*sweep, "runs", folder=tmp_path, SWEEP_STOP="17 SIGKILL self")
    assert killed.code == -9
    ended = forks.run(*sweep, "runs", "--resume", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert ", 1 of them interrupted" in ended.out

    assert told(tmp_path / "runs") == told(tmp_path / "quiet")
    assert len(told(tmp_path / "runs")) == 6
    assert [trial["reason"] == "" for trial in told(tmp_path / "runs")].count(False) > 0, "the pruner had its say"
    assert {step for trial in told(tmp_path / "runs") for step in trial["reported"]} == {"2", "4"}, "not at the end, 6"
    assert (trained(tmp_path / "runs", "A"), trained(tmp_path / "runs", "B")) == (1, 1)
    runs = [path for path in folder(tmp_path / "runs").iterdir() if path.is_dir()]
    assert len(runs) == 7, "one for the stages that are shared, and one a trial, interrupted or not"


LATE = """
import os
import sys
import time

if "--multiprocessing-fork" in sys.orig_argv:
    try:
        os.mkdir("early")
    except FileExistsError:
        for _ in range(2400):
            if os.path.exists("go"):
                break
            time.sleep(0.05)
"""
"""What Python runs as it starts: the first worker passes, the other one waits for a file, for two minutes at most."""


def slow_to_start(folder: Path) -> dict[str, str]:
    """The environment in which the second worker is slow to start; `go` in the folder lets it."""
    (folder / "late").mkdir()
    (folder / "late" / "sitecustomize.py").write_text(LATE)
    return {"PYTHONPATH": os.pathsep.join([str(folder / "late"), *filter(None, [os.environ.get("PYTHONPATH")])])}


def test_two_workers_share_the_first_stages_and_leave_when_the_first_process_is_stopped_or_killed(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = recipe(toy_recipe, tmp_path)
    sweep = ["sweep", path, *SIX]
    killed = forks.run(*sweep, "--workers", 2, folder=tmp_path, SWEEP_STOP="9 SIGKILL parent")
    assert killed.code == -9
    wait_until(lambda: not is_held(folder(tmp_path / "runs") / LOCK), "the workers leave")
    assert over(tmp_path / "runs") < 6, "they stopped after their step, and not after the sweep"

    late = slow_to_start(tmp_path)
    stopping = forks.start(*sweep, "--workers", 2, folder=tmp_path, SWEEP_STOP="14 SIGINT parent", **late)
    wait_until((tmp_path / "sent-14").exists, "the sweep is asked to stop")
    (tmp_path / "go").touch()
    stopped = stopping.wait()
    assert stopped.code == 5, stopped.err
    assert "the same command goes on" in stopped.err
    assert "Traceback" not in stopped.err, "a worker that is still starting stops in words too"
    assert over(tmp_path / "runs") < 6

    ended = forks.run(*sweep, folder=tmp_path)
    assert ended.code == 0, ended.err
    assert [trial["trial"] for trial in found(tmp_path / "runs")["trials"]] == list(range(6))
    assert (trained(tmp_path / "runs", "A"), trained(tmp_path / "runs", "B")) == (1, 1)


def test_one_worker_asks_for_a_trial_at_a_time(tmp_path: Path) -> None:
    sweep = Sweep(Path("toy.toml"), (), (ONE_RANGE,), "error", False, "none", 5, 0, tmp_path)
    study = open_study(sweep)
    asking = threading.Thread(target=lambda: ask(sweep, study))
    with (tmp_path / "ask.lock").open("w") as another:
        fcntl.flock(another, fcntl.LOCK_EX)
        asking.start()
        asking.join(0.3)
        assert study.get_trials() == []
    asking.join(30)
    assert len(study.get_trials()) == 1


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Wait for the processes of a sweep to do something, as long as for one of its commands."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, f"not within two minutes: {what}"
        time.sleep(0.02)


def over(runs: Path) -> int:
    """How many trials have ended, as the file of the sweep has it."""
    with sqlite3.connect(folder(runs) / "study.db") as file:
        states = [state for (state,) in file.execute("select state from trials")]
    return sum(state in ("COMPLETE", "PRUNED") for state in states)


def test_a_signal_at_the_very_end_of_a_trial_stops_the_sweep_and_not_the_trial(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    sweep = ["sweep", recipe(toy_recipe, tmp_path), "--set", RANGE, "--trials", 2]
    stopped = forks.run(*sweep, folder=tmp_path, SWEEP_STOP="end SIGINT self")
    assert stopped.code == 5, stopped.err
    assert "stopped by SIGINT after trial 0; 1 of 2 trials are over" in stopped.err
    assert [trial["trial"] for trial in found(tmp_path / "runs")["trials"]] == [0]


def test_a_trial_that_is_killed_before_it_took_the_shared_stages_does_not_train_them(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    sweep = ["sweep", recipe(toy_recipe, tmp_path), "--set", RANGE, "--trials", 1]
    assert forks.run(*sweep, folder=tmp_path, SWEEP_STOP="start").code == -9
    ended = forks.run(*sweep, folder=tmp_path)
    assert ended.code == 0, ended.err
    assert ", 1 of them interrupted" in ended.out
    assert (trained(tmp_path / "runs", "A"), trained(tmp_path / "runs", "B")) == (1, 1)


def test_a_trial_that_is_killed_while_it_asks_has_the_values_that_were_queued_for_it(tmp_path: Path) -> None:
    sweep = Sweep(Path("toy.toml"), (), (ONE_RANGE,), "error", False, "none", 5, 0, tmp_path)
    study = open_study(sweep)
    queue(study, {"key": 0.125})
    assert study.ask().params == {}, "killed before it took its values"
    assert take_up(study) == 1
    assert ask(sweep, study).params == {"key": 0.125}


def test_a_full_disk_ends_the_sweep_and_the_same_command_goes_on(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    sweep = ["sweep", recipe(toy_recipe, tmp_path), "--set", RANGE, "--trials", 2]
    study = forks.run(*sweep, folder=tmp_path, SWEEP_STOP="full 60000 -")
    assert study.code == 1
    assert "study.db cannot be read or written: " in study.err
    checkpoint = forks.run(*sweep, folder=tmp_path, SWEEP_STOP="full 2000 -")
    assert checkpoint.code == 1
    assert "could not be written: " in checkpoint.err
    ended = forks.run(*sweep, folder=tmp_path)
    assert ended.code == 0, ended.err
    assert [trial["reason"] for trial in found(tmp_path / "runs")["trials"]] == ["", ""]


def test_a_worker_that_is_killed_is_what_the_sweep_tells_of(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    sweep = ["sweep", recipe(toy_recipe, tmp_path), *SIX, "--workers", 2]
    killed = forks.run(*sweep, folder=tmp_path, SWEEP_STOP="9 SIGKILL self")
    assert killed.code == 1, killed.err
    assert "a worker of the sweep was killed by SIGKILL; the same command goes on" in killed.err
    assert over(tmp_path / "runs") < 6, "the other one stopped after its step"


def test_a_worker_that_is_still_starting_counts_as_one_at_work_and_leaves_without_a_trial(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    sweep = ["sweep", recipe(toy_recipe, tmp_path), *SIX]
    killed = forks.run(
        *sweep, "--workers", 2, folder=tmp_path, SWEEP_STOP="9 SIGKILL parent", **slow_to_start(tmp_path)
    )
    assert killed.code == -9
    busy = forks.run(*sweep, folder=tmp_path)
    assert busy.code == 1
    assert "is still going on, or was killed and its workers stop after their step, in another process" in busy.err
    (tmp_path / "go").touch()
    wait_until(lambda: not is_held(folder(tmp_path / "runs") / LOCK), "the workers leave")
    begun = [path for path in folder(tmp_path / "runs").iterdir() if path.is_dir()]
    assert len(begun) <= 1 + over(tmp_path / "runs") + 1, "the shared stages, and one worker's trials and last trial"

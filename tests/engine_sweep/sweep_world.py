"""Sweeps of the toy world: a recipe that trains in moments, a plugin that interrupts it, and what a sweep left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toy_world import PLUGIN, STAGE_A, STAGE_B, STAGE_C, threshold

RANGE = "stage.C.optimizer.lr=log(2e-3,0.1)"

SIGNALLING = '''
import os
import resource
import signal
from pathlib import Path

from engine.hookspecs import hookimpl


@hookimpl
def engine_step(event):
    """Count the steps of stage C over all trials in a file; at the one that the variable names, send its signal."""
    if event.stage != "C" or "SWEEP_STOP" not in os.environ:
        return
    at, name, whom = os.environ["SWEEP_STOP"].split()
    if at == "full":  # from here on no file of this process grows beyond so many bytes, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(name), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    if not at.isdigit():
        return
    with Path("steps").open("ab") as file:
        file.write(b".")
    if Path("steps").stat().st_size >= int(at):
        try:
            Path(f"sent-{at}").touch(exist_ok=False)  # once, whichever of two workers gets there first
        except FileExistsError:
            return
        os.kill(os.getppid() if whom == "parent" else os.getpid(), signal.Signals[name])


@hookimpl
def engine_run_started(event):
    """At "start" a trial, which has a gate to ask, dies before it has taken a stage."""
    if os.environ.get("SWEEP_STOP", "").startswith("start") and event.gates:
        os.kill(os.getpid(), signal.SIGKILL)


@hookimpl
def engine_run_finished(event):
    """At "end" the signal comes when there is nothing left to stop in the run."""
    if os.environ.get("SWEEP_STOP", "").startswith("end") and event.gates:
        os.kill(os.getpid(), signal.SIGINT)
'''


def recipe(write: Callable[..., Path], tmp_path: Path, **changes: Any) -> Path:
    """Three stages of a few steps; C is measured every second step and asks a gate that lets everything pass."""
    (tmp_path / "signalling.py").write_text(SIGNALLING)
    gate = changes.pop("gate", threshold(max=9.0))
    stages = [
        {**STAGE_A, "steps": 4},
        {**STAGE_B, "steps": 4},
        {**STAGE_C, "steps": 6, "evaluate_every": 2, "checkpoint_every": 1, "log_every": 1, "gate": [gate]},
    ]
    return write(plugins=[str(PLUGIN), "signalling.py"], stage=stages, **changes)


def folder(runs: Path) -> Path:
    """The folder of the only sweep."""
    (found,) = runs.glob("toy-sweep-*")
    return found


def found(runs: Path) -> dict[str, Any]:
    """What the only sweep wrote of itself."""
    return json.loads((folder(runs) / "sweep.json").read_text())


def trained(runs: Path, stage: str) -> int:
    """How often a stage was trained, and not taken, in all runs."""
    records = [json.loads(path.read_text()) for path in runs.glob(f"*/*/stage-{stage}/record.json")]
    return sum("reused" not in record for record in records if record["status"] == "done")

"""The plugin file that `engine verify-resume` adds to a recipe: it interrupts the run and shortens its validation data.

It is an ordinary plugin of an ordinary `engine run`, so what is proved holds for the command that people type.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from engine import events
from engine.data.source import First
from engine.hookspecs import Register, hookimpl
from engine.plugin_table import InnerData

INTERRUPT = "ENGINE_INTERRUPT"
"""The variable that says where: "STAGE STEP SIGNAL", such as "B 3 SIGTERM"."""

FIRST_SAMPLES = "first_samples"

PATIENCE = 60.0
"""Seconds that a kill waits for the checkpoint before it; a disk that needs longer loses a few more steps, no more."""

_saved: list[Path] = []


class FirstSamplesOptions(BaseModel):
    """The first `count` samples of data set `of`."""

    model_config = ConfigDict(extra="forbid")

    of: InnerData
    count: int


def first_samples(options: FirstSamplesOptions) -> First:
    """The shortened data set."""
    return First(options.of.build(), options.count)


@hookimpl
def engine_datasets(register: Register) -> None:
    """Bring the shortened data set."""
    register(FIRST_SAMPLES, FirstSamplesOptions, first_samples)


@hookimpl
def engine_checkpoint_saved(event: events.CheckpointSaved) -> None:
    """Remember the checkpoint that a kill must not come before."""
    _saved.append(event.path)


@hookimpl
def engine_step(event: events.Step) -> None:
    """Send the signal where the variable says."""
    stage, _, rest = os.environ.get(INTERRUPT, "").partition(" ")
    if f"{event.stage} {event.step}" != f"{stage} {rest.partition(' ')[0]}":
        return
    number = signal.Signals[rest.partition(" ")[2]]
    deadline = time.monotonic() + PATIENCE
    while number == signal.SIGKILL and _saved and not _saved[-1].is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(os.getpid(), number)

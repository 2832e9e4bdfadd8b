"""Memory stays flat over a long run, and the measurement that says so would see a small leak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from conftest import events_of, only_run
from toy_world import PLUGIN, RECIPE, STAGE_A, toml

STEPS = 20_000
BOUND_MB = 1.0
"""Growth over STEPS that passes for none: 50 bytes a step.

That is less than a step would leave behind if it kept one tensor (several hundred bytes) or a float in a list and a
dictionary (over 100), or if every tenth kept its event (about 1,000). Measured growth is below 0.2 MB.
"""

# A step is as small as can be, so that many fit into the test; the loss keeps `leak` bytes of every step. Figures go to
# an array made beforehand, so that the measurement itself keeps nothing.
SMALL = """
import os
import numpy as np
import torch
from pydantic import BaseModel

from engine.hookspecs import hookimpl
from engine.prediction import Prediction

RESIDENT = np.zeros((3000, 2))
KEPT = []


class Options(BaseModel):
    leak: int = 0


class Data:
    def __init__(self, options):
        self.sample_of_all = {name: np.ones((1, 1, 1), np.float32) for name in ("image", "target")}

    def __len__(self):
        return 8

    def sample(self, index, rng):
        return {**self.sample_of_all, "id": str(index), "scene": str(index)}


class Model(torch.nn.Module):
    def __init__(self, options):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        return Prediction(value=self.weight * batch["image"])


def loss(options):
    def square(prediction, batch):
        if options.leak:
            KEPT.append(bytes(options.leak))
        return (prediction.value - batch["target"]).square().mean()

    return square


@hookimpl
def engine_models(register):
    register("small", Options, Model, target="target")


@hookimpl
def engine_datasets(register):
    register("small", Options, Data)


@hookimpl
def engine_losses(register):
    register("leaks", Options, loss)


@hookimpl
def engine_step(event):
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    RESIDENT[event.step // 10 - 1] = event.step, pages * os.sysconf("SC_PAGE_SIZE")


@hookimpl
def engine_stage_finished(event):
    np.save(event.weights.with_name("resident.npy"), RESIDENT[RESIDENT[:, 0] > 0])
"""


def growth(folder: Path, steps: int, leak: int = 0) -> float:
    """MB by which a process grows in STEPS steps, by the trend of the second half of `steps` of them.

    The process is a fresh one: memory that others gave back would hide what this run keeps.
    """
    (folder / "small.py").write_text(SMALL)
    train = {
        "batch_size": 1,
        "losses": [{"name": "leaks", "leak": leak}],
        "log_every": 10,
        "evaluate_every": 5000,
        "checkpoint_every": 4000,
        "ema": 0.99,
    }
    recipe = {
        **RECIPE,
        "plugins": [str(PLUGIN), "small.py"],
        "model": {"plugin": "small"},
        "data": {split: {"plugin": "small"} for split in ("train", "val")},
        "train": train,
        "stage": [{**STAGE_A, "steps": steps}],
    }
    del recipe["injection"]
    (folder / "long.toml").write_text(toml(recipe))
    done = subprocess.run(
        [sys.executable, "-m", "engine", "run", "long.toml"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resident = np.load(only_run(folder) / "stage-A" / "resident.npy")
    assert len(resident) == steps // 10
    late = resident[len(resident) // 2 :]
    return float(np.polyfit(late[:, 0], late[:, 1], 1)[0]) * STEPS / 1e6


def test_memory_is_flat_over_a_long_run(tmp_path: Path) -> None:
    assert growth(tmp_path, STEPS) < BOUND_MB
    assert len(events_of(only_run(tmp_path), "checkpoint_saved")) >= STEPS // 4000
    assert len(events_of(only_run(tmp_path), "evaluated")) >= STEPS // 5000


def test_the_measurement_sees_a_leak_of_a_kilobyte_a_step(tmp_path: Path) -> None:
    assert 0.8 * STEPS * 1e-3 < growth(tmp_path, 4000, leak=1000) < 1.5 * STEPS * 1e-3

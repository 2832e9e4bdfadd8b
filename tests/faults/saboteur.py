"""The toy world with a saboteur in it: it behaves as the toy does until SABOTAGE names a moment and a fault.

SABOTAGE is a JSON table of moments and what happens there, for example {"step B 7": "SIGKILL"}:

    step B 7, evaluated B 4, checkpoint_saved B 6, stage_finished B, note, ...   a lifecycle hook, with stage and step
    forward B 12        the twelfth call of the base in stage B
    sample train-5      the sample is drawn, in a data worker where the run has some
    loss train-5        the loss of a batch with that sample
    operation B 17      the 17th operation on files in the saves of stage B's checkpoints (open, rename, mkdir, remove)

and what happens there: SIGKILL, SIGTERM, ... (to the process where it happens), twice SIGTERM, worker (kill -9 of a
data worker), wait go (for a file), raise ValueError, limit 900 (no file grows past 900 bytes: the process dies at that
byte), full 900 (the write of that byte fails), nan, inf, gradient (the loss is finite, its gradient is not), shape,
write (to a frozen tensor), field (a field is missing).

A fault that was brought is noted in the file `hits`. With SABOTAGE_LOG every moment that passes is noted in that file.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine_scenes.dataset import PolarizedScenes
from engine_scenes.options import SceneOptions
from toy_plugin import (
    BaseOptions,
    BoundOptions,
    DataOptions,
    Options,
    ToyBase,
    ToyData,
    ToyInjection,
    ToyLoss,
    ToyMetric,
)

from engine.contracts import Progress
from engine.hookspecs import hookimpl
from engine.prediction import Batch, Prediction

FAULTS: dict[str, str] = json.loads(os.environ.get("SABOTAGE", "{}"))
LOG = os.environ.get("SABOTAGE_LOG")
CHECKPOINTS = "/checkpoints"


class UnprintableError(Exception):
    """An exception that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


RAISED: dict[str, BaseException] = {
    "ValueError": ValueError("a value"),
    "AssertionError": AssertionError(),
    "KeyError": KeyError("a key"),
    "OSError": OSError(28, "No space left on device"),
    "MemoryError": MemoryError(),
    "RecursionError": RecursionError("too deep"),
    "StopIteration": StopIteration(),
    "SystemExit": SystemExit(0),
    "UnprintableError": UnprintableError(),
    "CancelledError": asyncio.CancelledError("closed"),  # not an Exception: `except Exception` does not see it
}


def note(file: str, line: str) -> None:
    """Append a line in one write, so that lines of several processes do not mix and a kill loses none."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def strike(moment: str) -> str:
    """Bring the fault of this moment; the word of a fault that the caller brings itself, else nothing."""
    if LOG:
        note(LOG, moment)
    fault = FAULTS.get(moment)
    if fault is None:
        return ""
    note("hits", f"{moment}: {fault}")
    what, _, how = fault.partition(" ")
    if what == "wait":
        for _ in range(3000):  # half a minute at most
            if Path(how).exists():
                break
            time.sleep(0.01)
    elif what == "raise":
        raise RAISED[how]
    elif what in ("limit", "full"):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(how), resource.RLIM_INFINITY))
    elif what == "worker":
        workers = [child.pid for child in multiprocessing.active_children() if child.pid]
        os.kill(workers[int(how) % len(workers)], signal.SIGKILL)
    elif what == "twice":
        threading.Timer(0.1, os.kill, (os.getpid(), signal.Signals[how])).start()
        os.kill(os.getpid(), signal.Signals[how])
        time.sleep(5)  # the step does not end before the second signal
    elif what.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[what])
    else:
        return fault
    return ""


class Place:
    """Where the run is: the stage, and what has been counted in it."""

    stage = "-"
    forward = 0
    operations = 0


def watch_files(event: str, arguments: tuple[Any, ...]) -> None:
    """Count what a save does to the files of checkpoints; an audit hook, so that nothing has to be replaced."""
    if threading.current_thread() is threading.main_thread():
        return  # saves are made by a thread; the main one only reads
    if event not in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"):
        return
    path = arguments[0]
    if isinstance(path, str | os.PathLike) and CHECKPOINTS in (name := os.fspath(path)):
        Place.operations += 1
        strike(f"operation {Place.stage} {Place.operations}")
        if LOG and event == "os.mkdir" and name.endswith(".partial"):
            note(LOG, f"write {Place.stage} {Place.operations}")


if LOG or any(moment.startswith("operation") for moment in FAULTS):
    sys.addaudithook(watch_files)


if any(fault.startswith("limit") for fault in FAULTS.values()):
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and a write past the limit fails


class FragileBase(ToyBase):
    def forward(self, batch: Batch) -> Prediction:
        Place.forward += 1
        fault = strike(f"forward {Place.stage} {Place.forward}")
        if fault == "write":
            with torch.no_grad():
                self.head.weight += 1
        prediction = super().forward(batch)
        return Prediction(value=prediction.value[..., :-1]) if fault == "shape" else prediction


class FragileData(ToyData):
    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        sample = super().sample(index, rng)
        fault = strike(f"sample {sample['id']}")
        if fault in ("nan", "inf"):
            sample["image"] = np.full_like(sample["image"], float(fault))
        if fault == "shape":
            sample["image"] = sample["image"][..., :-1]
        if fault == "field":
            del sample["image"]
        return sample


class FragileScenes:
    """Rendered scenes, read from their zarr store, for the toy's model."""

    def __init__(self, options: SceneOptions) -> None:
        self.rendered = PolarizedScenes(options)

    def __len__(self) -> int:
        return len(self.rendered)

    def prepare(self, progress: Progress) -> None:
        self.rendered.prepare(progress)

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        scene = self.rendered.sample(index, rng)
        return {
            "image": scene["left"].mean(0, keepdims=True) / 255,
            "signal": scene["polarization_left"][:1],
            "target": scene["disparity"],
            **{name: scene[name] for name in ("valid", "id", "scene")},
        }


class Spoilt(torch.autograd.Function):
    """The identity, with a gradient of NaN."""

    @staticmethod
    def forward(context: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # one input, one output
        return gradient * math.nan


class FragileLoss(ToyLoss):
    def __call__(self, prediction: Prediction, batch: Batch) -> torch.Tensor:
        loss = super().__call__(prediction, batch)
        for name in batch["id"]:
            fault = strike(f"loss {name}")
            if fault in ("nan", "inf"):
                loss = loss * float(fault)
            if fault == "gradient":
                loss = Spoilt.apply(loss)
        return loss


@hookimpl
def engine_run_started(event: Any) -> None:
    strike("run_started")


@hookimpl
def engine_stage_started(event: Any) -> None:
    Place.stage, Place.forward, Place.operations = event.name, 0, 0
    strike(f"stage_started {event.name}")


@hookimpl
def engine_stage_frozen(event: Any) -> None:
    strike(f"stage_frozen {event.name}")


@hookimpl
def engine_step(event: Any) -> None:
    strike(f"step {event.stage} {event.step}")


@hookimpl
def engine_evaluated(event: Any) -> None:
    strike(f"evaluated {event.stage} {event.moment.removeprefix('step ')} {event.warp}")


@hookimpl
def engine_gate_decided(event: Any) -> None:
    strike(f"gate_decided {event.stage}")


@hookimpl
def engine_checkpoint_saved(event: Any) -> None:
    strike(f"checkpoint_saved {event.stage} {event.step}")


@hookimpl
def engine_stage_finished(event: Any) -> None:
    strike(f"stage_finished {event.name}")


@hookimpl
def engine_run_finished(event: Any) -> None:
    strike("run_finished")


@hookimpl
def engine_note(event: Any) -> None:
    strike("note")


@hookimpl
def engine_models(register: Any) -> None:
    register("fragile", BaseOptions, FragileBase, target="target")


@hookimpl
def engine_injections(register: Any) -> None:
    register("fragile", BoundOptions, ToyInjection)


@hookimpl
def engine_datasets(register: Any) -> None:
    register("fragile", DataOptions, FragileData)
    register("scenes", SceneOptions, FragileScenes)


@hookimpl
def engine_losses(register: Any) -> None:
    register("fragile", Options, FragileLoss)


@hookimpl
def engine_metrics(register: Any) -> None:
    register("error", Options, ToyMetric, produces=lambda options: ["error"])

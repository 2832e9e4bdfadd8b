"""Everything that changes from step to step: what a checkpoint holds, so that resuming repeats no step differently."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from engine.checkpoints.store import Checkpoint, CheckpointStore
from engine.errors import InputError, WorldError
from engine.globs import Selection
from engine.system import System
from engine.training.average import Average
from engine.training.guard import NonFiniteGuard
from engine.training.meter import Meter
from engine.training.parallel import Copied

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator


@dataclass
class Progress:
    """Where a stage stands: steps made, steps skipped for numbers that were not finite, the best figure so far.

    unmeasured: the evaluation that is due at this step has not been made, since a signal came before or in it.
    """

    step: int = 0
    skipped: int = 0
    best: float = float("inf")
    unmeasured: bool = False

    def improves(self, figure: float | None) -> bool:
        """Whether `figure` is the lowest so far; remembers it."""
        if figure is None or not figure < self.best:
            return False
        self.best = figure
        return True


class TrainingState:
    """Weights, their moving average, optimiser, loss scale, overflows, running report, random numbers, position."""

    def __init__(
        self,
        system: System,
        decay: float | None,
        optimizer: torch.optim.Optimizer,
        scaler: Any,
        guard: NonFiniteGuard,
        meter: Meter,
        parallel: Copied,
    ) -> None:
        self.system = system
        self.optimizer = optimizer
        self.scaler = scaler
        self.guard = guard
        self.meter = meter
        self.parallel = parallel
        self.progress = Progress()
        self.average = None if decay is None else Average(system, decay, optimizer)

    @property
    def averaged(self) -> System:
        """What is measured and handed on: the moving average where one is kept."""
        return self.system if self.average is None else self.average.system

    def save(self, store: CheckpointStore, accelerator: Accelerator, best: bool) -> Path | None:
        """Hand a copy to the store; its path, in the leading process alone. Every process has to call it."""
        own = {"random": random_state(accelerator.device), "meter": self.meter.state()}
        everyone, optimizer = _gathered(own, accelerator), self.parallel.whole(self.optimizer.state_dict())
        if not accelerator.is_main_process:
            return None
        state = {
            "progress": vars(self.progress),
            "optimizer": optimizer,
            "scaler": self.scaler.state_dict(),
            "guard": self.guard.state(),
            "averaged": None if self.average is None else int(self.average.steps),
            "processes": everyone,
        }
        average = None if self.average is None else self.average.system.state_dict()
        return store.save(self.progress.step, self.system.state_dict(), average, state, best)

    def restore(self, checkpoint: Checkpoint, accelerator: Accelerator) -> None:
        """Go back to a checkpoint, in place.

        Raises InputError when another number of processes wrote it, WorldError when it does not fit the system.
        """
        state = checkpoint.state
        try:
            everyone: list[Mapping[str, Any]] = state["processes"]
            check_processes(len(everyone), accelerator.num_processes)
            own = everyone[accelerator.process_index]
            self.system.load_state_dict(dict(checkpoint.weights))
            self.parallel.adopt()
            self.optimizer.load_state_dict(self.parallel.part(state["optimizer"], self.optimizer))
            self.scaler.load_state_dict(state["scaler"])
            self.guard.restore(state["guard"])
            if self.average is not None:
                if checkpoint.average is None:
                    raise KeyError("average")
                self.average.system.load_state_dict(dict(checkpoint.average))
                self.average.steps = int(state["averaged"])
            self.meter.restore(own["meter"])
            self.progress = Progress(**state["progress"])
            restore_random_state(own["random"], accelerator.device)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
            raise WorldError(
                f"the checkpoint of step {checkpoint.step} does not fit this recipe and these plugins: {error}"
            ) from error

    def keep_average(self, selection: Selection) -> None:
        """Put the moving average, where one is kept, in the place of the weights that were trained."""
        if self.average is not None:
            # Only what trains: the average of a constant is not bit-identical to it (-0.0 becomes 0.0).
            frozen, averaged = selection.frozen_parameters, self.averaged.state_dict()
            own = self.system.state_dict()
            self.system.load_state_dict({name: own[name] if name in frozen else averaged[name] for name in own})


def check_processes(began: int, now: int) -> None:
    """InputError when a run that began with one number of processes is resumed with another."""
    if now != began:
        number = f"{began} process{'es' if began > 1 else ''}"
        raise InputError(
            f"the run was started with {number} and is resumed with {now}: "
            "its batches and random numbers would be others",
            f"resume it with {number}: --processes {began}, or its launcher's option",
        )


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch, numpy and Python, for plugins that draw from them."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def repeat_exactly() -> None:
    """Let torch compute by deterministic algorithms alone, and raise for operators of a device that have none."""
    # Read at a GPU's first matrix product: without it cuBLAS chooses its memory, and with that the order of sums.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of the global generators as plain numbers and tensors, which are read back without running code."""
    twister = np.random.get_state(legacy=False)
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": {**twister, "state": {**twister["state"], "key": twister["state"]["key"].tolist()}},
        "python": [version, list(internal), gauss],
    }


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Put the global generators where `random_state` found them."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
    key = np.array(state["numpy"]["state"]["key"], dtype=np.uint32)
    np.random.set_state({**state["numpy"], "state": {**state["numpy"]["state"], "key": key}})
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def _gathered(value: dict[str, Any], accelerator: Accelerator) -> list[dict[str, Any]]:
    """The value of every process, in their order."""
    if accelerator.num_processes == 1:
        return [value]
    values: list[Any] = [None] * accelerator.num_processes
    torch.distributed.all_gather_object(values, value)
    return values

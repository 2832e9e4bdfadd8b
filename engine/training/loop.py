"""The training loop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from engine import events
from engine.checkpoints.store import Checkpoint, CheckpointStore
from engine.contracts import Evaluation
from engine.data.loader import to_device
from engine.errors import DivergedError, InterruptedRunError
from engine.globs import Selection
from engine.prediction import Batch
from engine.recipe.schema import Stage
from engine.system import System, Warp
from engine.training.guard import FP16_OVERFLOWS, NonFiniteGuard
from engine.training.interrupt import StopRequest
from engine.training.losses import WeightedLosses
from engine.training.optimizer import build_optimizer, set_learning_rates
from engine.training.schedule import factor

if TYPE_CHECKING:
    from accelerate import Accelerator

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Task:
    """All that the loop needs to train one stage.

    batches(first, last): the stage's batches from micro-step `first`. measure(system, moment): evaluate on held-out
    data. best_of: the figure whose minimum marks the best checkpoint, None when the recipe names none.
    """

    stage: Stage
    seed: int
    system: System
    selection: Selection
    losses: WeightedLosses
    batches: Callable[[int, int], Iterator[Batch]]
    accelerator: Accelerator
    store: CheckpointStore
    emit: Callable[[Any], None]
    measure: Callable[[System, str], Evaluation]
    best_of: Callable[[Evaluation], float | None]
    stop: StopRequest
    folder: Path


def train(task: Task, resume: Checkpoint | None = None) -> None:
    """Train one stage to its last step; the system then holds the weights to hand on (the average, where one is kept).

    Raises DivergedError by the stage's policy for numbers that are not finite, InterruptedRunError after a signal (a
    checkpoint is written first).
    """
    stage, settings, system = task.stage, task.stage.train, task.system
    device, several = task.accelerator.device, task.accelerator.num_processes > 1
    optimizer = build_optimizer(system, task.selection, settings.optimizer)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
    average = _average(system, settings.ema)
    overflows = FP16_OVERFLOWS if scaler.is_enabled() else 0
    guard = NonFiniteGuard(optimizer, settings.nonfinite.policy == "stop", overflows)
    module: nn.Module = task.accelerator.prepare_model(system) if several else system
    progress = _restore(resume, system, average, optimizer, scaler) if resume else Progress()
    batches = task.batches(progress.step * settings.accumulate, stage.steps * settings.accumulate)
    meter = Meter(task.losses.names, device)

    def forward_backward(warp: Warp, last: bool) -> None:
        with meter.waiting():
            batch = to_device(next(batches), device)
        with task.accelerator.no_sync(module) if several and not last else nullcontext():
            with autocast(device, settings.precision):
                loss, terms = task.losses(module(batch, warp=warp, inject=stage.injection), batch)
            scaler.scale(loss / settings.accumulate).backward()  # type: ignore[no-untyped-call]  # torch's gap
        guard.see(loss)
        meter.add(loss.detach(), terms, 1 / settings.accumulate)

    while progress.step < stage.steps:
        set_learning_rates(optimizer, factor(progress.step, stage.steps, settings.schedule))
        warp = draw_warp(task.seed, stage, progress.step)
        for micro in range(settings.accumulate):
            forward_backward(warp, last=micro == settings.accumulate - 1)
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, settings.clip_norm or float("inf"))
        guard.judge(progress.step, norm, shared=several)
        optimizer.step()  # not through the scaler, which would put its own flag in place of the guard's
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if average is not None:
            average.update_parameters(system)
        meter.add_norm(norm)
        progress.step += 1

        last = progress.step == stage.steps
        report = last or _due(progress.step, settings.log_every)
        measure, save = _due(progress.step, settings.evaluate_every), _due(progress.step, settings.checkpoint_every)
        if report or measure or save or task.stop.signal:
            progress.skipped += _review(task, guard, progress)  # nothing is measured or kept before this
        if report:
            task.emit(meter.report(stage, progress, optimizer.param_groups[0]["lr"]))
        stop = _asked_to_stop(task, several, report)
        best = False
        if measure:
            best = progress.improves(task.best_of(task.measure(_averaged(average, system), f"step {progress.step}")))
        if best or save or last or stop:
            _save(task, progress, average, optimizer, scaler, best)
        if stop and not last:
            task.store.wait()
            cause = task.stop.signal or "a signal to another process"
            raise InterruptedRunError(f"stopped by {cause} at step {progress.step} of stage {stage.name}")

    if average is not None:
        # Only what trains: the average of a constant is not bit-identical to it (-0.0 becomes 0.0).
        frozen = task.selection.frozen_parameters
        averaged = _averaged(average, system).state_dict()
        system.load_state_dict(
            {name: own if name in frozen else averaged[name] for name, own in system.state_dict().items()}
        )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The stage's precision: bf16 or fp16 where torch deems it safe, or float32 throughout."""
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32")


def draw_warp(seed: int, stage: Stage, step: int) -> Warp:
    """Which value aligns the auxiliary signal in this step: the same in every process, and on resuming."""
    share = 0.0 if stage.warp is None else stage.warp.gt_share(step / max(stage.steps - 1, 1))
    if share in (0.0, 1.0):
        return "gt" if share else "pred"
    return "gt" if random.Random(f"{seed}/{stage.name}/{step}").random() < share else "pred"


@dataclass
class Progress:
    """Where a stage stands: steps made, steps skipped for numbers that were not finite, the best figure so far."""

    step: int = 0
    skipped: int = 0
    best: float = float("inf")

    def improves(self, figure: float | None) -> bool:
        """Whether `figure` is the lowest so far; remembers it."""
        if figure is None or not figure < self.best:
            return False
        self.best = figure
        return True


@dataclass
class Meter:
    """Sums on the device since the last report, so that no step waits for it."""

    names: list[str]
    device: torch.device
    sums: Tensor = field(init=False)
    steps: int = 0
    waited: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.sums = torch.zeros(len(self.names) + 2, device=self.device)
        self.steps, self.waited, self.began = 0, 0.0, time.perf_counter()

    def add(self, loss: Tensor, terms: Tensor, share: float) -> None:
        """Add one micro-batch's loss and terms."""
        self.sums[1:].add_(torch.cat([loss.reshape(1), terms]), alpha=share)

    def add_norm(self, norm: Tensor) -> None:
        """Close a step with its gradient norm."""
        self.sums[0] += norm
        self.steps += 1

    def waiting(self) -> Waiting:
        """Counts the time spent in its body as waiting for data."""
        return Waiting(self)

    def report(self, stage: Stage, progress: Progress, rate: float) -> events.Step:
        """The means since the last report, as an event; this is where the device is waited for."""
        norm, loss, *terms = (self.sums / max(self.steps, 1)).tolist()
        seconds = time.perf_counter() - self.began
        event = events.Step(
            stage=stage.name,
            step=progress.step,
            steps=stage.steps,
            loss=loss,
            terms=dict(zip(self.names, terms, strict=True)),
            gradient_norm=norm,
            learning_rate=rate,
            seconds_per_step=seconds / max(self.steps, 1),
            data_share=self.waited / seconds,
            skipped=progress.skipped,
        )
        self._reset()
        return event


class Waiting:
    """A stopwatch on a meter."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.meter.waited += time.perf_counter() - self.start


def _review(task: Task, guard: NonFiniteGuard, progress: Progress) -> int:
    """Apply the stage's policy to steps that were not finite; returns how many were skipped."""
    bad, policy = guard.review(), task.stage.train.nonfinite
    if not bad:
        return 0
    kept = _keep_batches(task, bad[0])
    if policy.policy == "stop":
        raise DivergedError(
            f"stage {task.stage.name}: loss or gradient not finite at step {bad[0]}; the batch is in {kept}"
        )
    task.emit(
        events.Note(
            "warning",
            f"stage {task.stage.name}: step {bad[0]} skipped, not finite; the batch is in {kept}",
            {"steps": bad},
        )
    )
    if progress.skipped + len(bad) > policy.limit:
        raise DivergedError(
            f"stage {task.stage.name}: {progress.skipped + len(bad)} steps were not finite, {policy.limit} are allowed"
        )
    return len(bad)


def _keep_batches(task: Task, step: int) -> Path:
    """Draw the batch of a step again (batches are a function of the step) and save it."""
    accumulate = task.stage.train.accumulate
    path = task.folder / f"nonfinite-step-{step}.pt"
    if task.accelerator.is_main_process:
        task.folder.mkdir(parents=True, exist_ok=True)
        torch.save(list(task.batches(step * accumulate, (step + 1) * accumulate)), path)
    return path


def _asked_to_stop(task: Task, several: bool, report: bool) -> bool:
    """Whether a signal came; several processes agree on it where they report, so that all leave at the same step."""
    if not several:
        return task.stop.signal is not None
    if not report:
        return False
    asked = torch.tensor(float(task.stop.signal is not None), device=task.accelerator.device)
    torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
    return bool(asked)


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _average(system: System, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    return AveragedModel(system, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]  # torch


def _averaged(average: AveragedModel | None, system: System) -> System:
    return system if average is None else cast("System", average.module)


def _save(
    task: Task,
    progress: Progress,
    average: AveragedModel | None,
    optimizer: torch.optim.Optimizer,
    scaler: Any,
    best: bool,
) -> None:
    if not task.accelerator.is_main_process:
        return
    state = {
        "progress": vars(progress),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "averaged": None if average is None else average.n_averaged,
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state() if task.accelerator.device.type == "cuda" else None,
    }
    weights = task.system.state_dict()
    path = task.store.save(
        progress.step, weights, None if average is None else average.module.state_dict(), state, best
    )
    task.emit(events.CheckpointSaved(task.stage.name, progress.step, path, best))


def _restore(
    resume: Checkpoint, system: System, average: AveragedModel | None, optimizer: torch.optim.Optimizer, scaler: Any
) -> Progress:
    system.load_state_dict(dict(resume.weights))
    state = resume.state
    optimizer.load_state_dict(state["optimizer"])
    scaler.load_state_dict(state["scaler"])
    if average is not None and resume.average is not None:
        average.module.load_state_dict(dict(resume.average))
        average.n_averaged.copy_(state["averaged"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] is not None:
        torch.cuda.set_rng_state(state["random_cuda"])
    return Progress(**state["progress"])

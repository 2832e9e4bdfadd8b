"""The training loop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine import events
from engine.checkpoints.store import Checkpoint, CheckpointStore
from engine.contracts import Evaluation
from engine.data.loader import to_device
from engine.errors import InterruptedRunError
from engine.globs import Selection
from engine.prediction import Batch
from engine.recipe.schema import Stage
from engine.system import System, Warp
from engine.training.compiling import backward_of
from engine.training.forward import draw_warp, in_precision
from engine.training.guard import FP16_OVERFLOWS, NonFiniteGuard
from engine.training.interrupt import Agreement, StopRequest, host_group
from engine.training.losses import WeightedLosses
from engine.training.meter import Meter, at_once
from engine.training.optimizer import build_optimizer, set_learning_rates
from engine.training.parallel import in_parallel
from engine.training.review import review
from engine.training.schedule import factor
from engine.training.state import TrainingState, random_state, restore_random_state

if TYPE_CHECKING:
    from accelerate import Accelerator


REVIEW_EVERY = 1000
"""Steps after which the guard's verdicts are looked at where nothing is reported: until then each is kept on the
device, and a run that has gone wrong goes on."""

NEVER = sys.maxsize


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
    waits = at_once(device)
    read, accumulate = Tensor.item if waits else Tensor.detach, settings.accumulate
    report_every, measure_every, save_every = (
        each or NEVER for each in (settings.log_every, settings.evaluate_every, settings.checkpoint_every)
    )
    parallel = in_parallel(task.accelerator, system, task.selection)
    optimizer = build_optimizer(parallel.trained, task.selection, settings.optimizer)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    buffers = [buffer for name, buffer in system.named_buffers() if name not in task.selection.frozen_buffers]
    scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
    scales, overflows = scaler.is_enabled(), FP16_OVERFLOWS if scaler.is_enabled() else 0
    policy = settings.nonfinite.policy
    guarded, measured = policy != "off", policy != "off" or settings.clip_norm is not None
    guard = NonFiniteGuard(optimizer, policy == "stop", overflows, buffers if guarded else ())
    meter = Meter(task.losses.names)
    state = TrainingState(system, settings.ema, optimizer, scaler, guard, meter, parallel)
    if resume:
        state.restore(resume, task.accelerator)
    progress, agreement = state.progress, Agreement(task.stop, host_group() if several else None)
    batches = task.batches(progress.step * accumulate, stage.steps * accumulate)

    def forward(batch: Batch, warp: Warp) -> tuple[Tensor, list[Tensor]]:
        return task.losses(parallel.module(batch, warp=warp, inject=stage.injection), batch)

    forward, backward = in_precision(forward, device, settings.precision), backward_of(settings.compile)

    def forward_backward(warp: Warp, last: bool) -> None:
        began = time.perf_counter()
        batch = to_device(next(batches), device)
        meter.waited += time.perf_counter() - began
        with parallel.micro_step(last):
            loss, terms = forward(batch, warp)
            share = loss if accumulate == 1 else loss / accumulate
            backward(scaler.scale(share) if scales else share)
        figure = read(loss)
        guard.see(figure)
        meter.add(figure, [figure] if terms[0] is loss else [read(term) for term in terms], 1 / accumulate)

    def settle(measure: bool, save: bool) -> None:
        began = time.perf_counter()
        _settle(task, state, measure, save)
        meter.leave_out(time.perf_counter() - began)

    if progress.unmeasured:
        settle(measure=True, save=True)
    while progress.step < stage.steps:
        set_learning_rates(optimizer, factor(progress.step, stage.steps, settings.schedule))
        warp = draw_warp(task.seed, stage, progress.step)
        guard.begin()
        for micro in range(accumulate):
            forward_backward(warp, last=micro == accumulate - 1)
        if scales:
            scaler.unscale_(optimizer)
        norm = parallel.clip(parameters, settings.clip_norm) if measured else None
        made = norm is None or not guarded or guard.judge(progress.step, norm, shared=several)
        if made:
            optimizer.step()  # not through the scaler, which would put its own flag in place of the guard's
        if scales:
            scaler.update()
        for parameter in parameters:
            parameter.grad = None  # what `zero_grad` does, in a tenth of its time
        if state.average is not None and made:
            parallel.publish()
            state.average.update(system)
        meter.close(norm)
        progress.step += 1

        last = progress.step == stage.steps
        report = last or progress.step % report_every == 0
        measure, save = progress.step % measure_every == 0, progress.step % save_every == 0
        if report or progress.step % REVIEW_EVERY == 0:
            # Nothing is told, measured or kept before this.
            progress.skipped += review(task, guard, progress, parallel.publish)
        if report:
            rate = optimizer.param_groups[0]["lr"]
            meter.reduce(several)
            task.emit(meter.report(stage.name, stage.steps, progress.step, progress.skipped, rate))
        stop = agreement.to_stop() and not last
        if measure or save or last or stop:
            progress.skipped += review(task, guard, progress, parallel.publish)
            progress.unmeasured = measure
            settle(measure=measure and not stop, save=save or last or stop)
        if stop:
            raise InterruptedRunError(f"stopped by {task.stop.cause} at step {progress.step} of stage {stage.name}")
    state.keep_average(task.selection)


def _settle(task: Task, state: TrainingState, measure: bool, save: bool) -> None:
    """Measure and write the checkpoint; where a stop ends the measuring, the checkpoint knows that it is still due."""
    best, progress = False, state.progress
    state.parallel.publish()
    if measure:
        before = random_state(task.accelerator.device)
        try:
            best = progress.improves(task.best_of(task.measure(state.averaged, f"step {progress.step}")))
        except InterruptedRunError:
            restore_random_state(before, task.accelerator.device)  # the evaluation is made again from its beginning
            _save(task, state, best)
            raise
        progress.unmeasured = False
    if save or best:
        _save(task, state, best)


def _save(task: Task, state: TrainingState, best: bool) -> None:
    path = state.save(task.store, task.accelerator, best)
    if path is not None:
        task.emit(events.CheckpointSaved(task.stage.name, state.progress.step, path, best))

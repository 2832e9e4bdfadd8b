"""What follows a step whose numbers were not finite: its batch is kept, the cause looked for, the policy asked."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine import events
from engine.data.loader import to_device
from engine.errors import DivergedError
from engine.files import write_whole
from engine.prediction import Batch
from engine.training.forward import autocast, draw_warp
from engine.training.guard import BadStep, NonFiniteGuard
from engine.training.state import Progress

if TYPE_CHECKING:
    from engine.training.loop import Task


def review(task: Task, guard: NonFiniteGuard, progress: Progress, publish: Callable[[], None]) -> int:
    """Apply the stage's policy to the steps since the last review; returns how many were skipped.

    publish: lets the system hold the weights as they are now. Raises DivergedError when the policy is to stop, or when
    more steps were skipped than it allows.
    """
    bad, policy = guard.review(), task.stage.train.nonfinite
    if not bad:
        return 0
    where = f"stage {task.stage.name}"
    if policy.policy == "stop":
        publish()
        batches = _drawn(task, bad[0])
        kept, cause = _keep(task, bad[0], batches), _wild(batches) or _culprit(task, bad[0], batches)
        raise DivergedError(
            f"{where}: {bad[0].what} not finite at step {bad[0].step}{cause}; "
            f"the weights are as before it, the batch ({', '.join(_ids(batches))}) is in {kept}"
        )
    for each in bad[: policy.limit + 1]:
        batches = _drawn(task, each)
        kept = _keep(task, each, batches)
        text = f"{where}: step {each.step} skipped, {each.what} not finite{_wild(batches)}; the batch is in {kept}"
        task.emit(events.Note("warning", text, {"step": each.step, "samples": _ids(batches), "file": str(kept)}))
    if progress.skipped + len(bad) > policy.limit:
        raise DivergedError(f"{where}: {progress.skipped + len(bad)} steps were not finite, {policy.limit} are allowed")
    return len(bad)


def _drawn(task: Task, bad: BadStep) -> list[Batch]:
    """A step's batches, drawn again: they are a function of the step."""
    accumulate = task.stage.train.accumulate
    return list(task.batches(bad.step * accumulate, (bad.step + 1) * accumulate))


def _keep(task: Task, bad: BadStep, batches: list[Batch]) -> Path:
    """Save the batches of a step; every process of several keeps its own part."""
    number = task.accelerator.process_index
    path = task.folder / f"nonfinite-step-{bad.step}{f'-process-{number}' if number else ''}.pt"
    content = io.BytesIO()
    torch.save(batches, content)
    write_whole(path, lambda partial: partial.write_bytes(content.getvalue()))
    return path


def _ids(batches: list[Batch]) -> list[str]:
    return [str(name) for batch in batches for name in batch.get("id", [])]


def _wild(batches: list[Batch]) -> str:
    fields = dict.fromkeys(field for batch in batches for field in wild_fields(batch))
    return f" (so are the data: field {', '.join(fields)})" if fields else ""


def _culprit(task: Task, bad: BadStep, batches: list[Batch]) -> str:
    """Where the number came up first: the same batches through the weights that the bad step saw."""
    stage = task.stage
    warp = draw_warp(task.seed, stage, bad.step)
    for batch in (to_device(each, task.accelerator.device) for each in batches):
        with torch.no_grad(), autocast(task.accelerator.device, stage.train.precision):
            prediction = task.system(batch, warp=warp, inject=stage.injection)
            terms = task.losses(prediction, batch)[1]
        named = {
            "the base's prediction": (prediction.base or prediction).value,
            "the correction": prediction.correction,
        }
        named |= {f"the loss {name!r}": term for name, term in zip(task.losses.names, terms, strict=True)}
        for what, value in named.items():
            if value is not None and not bool(torch.isfinite(value).all()):
                return f" (first in {what}; the data are finite)"
    return ""


def wild_fields(batch: Batch) -> Sequence[str]:
    """The fields of a batch that hold numbers that are not finite, each with the samples that bring them."""
    found = []
    for name, value in batch.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            finite = torch.isfinite(value).reshape(len(value), -1).all(1)
            samples = [str(batch["id"][i]) for i, fine in enumerate(finite.tolist()) if not fine and "id" in batch]
            found.append(f"{name!r}" + (f" in {', '.join(samples)}" if samples else ""))
    return found

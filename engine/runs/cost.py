"""`engine plan --measure`: what a recipe would cost, from a few real steps of every stage; nothing is left in runs/.

Stages that start from earlier ones are measured with the starting weights: their time does not depend on the numbers.
What is not counted: gates, imports, and the preparation of data.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine import events
from engine.checkpoints.store import CheckpointStore
from engine.contracts import Dataset
from engine.data.frozen import FrozenSamples
from engine.data.loader import as_source
from engine.data.source import First, Source
from engine.recipe.schema import Stage
from engine.stages.runner import StageRun
from engine.stages.session import Session
from engine.system import System

STEPS = 5
"""Steps that are timed, after as many that are not: the first ones import, allocate and choose algorithms."""
SAMPLES = 8
"""Samples whose evaluation is timed, and whose frozen outputs are computed."""
CLEAR_PEAK = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class StageCost:
    """What a stage would take: seconds, and bytes.

    evaluation: all evaluations of the stage. frozen_outputs: computing those of a stage that caches them, and
    frozen_bytes their size on the disk. checkpoint: writing one; only the last is waited for. peak_bytes: the memory of
    the device, or of this process where that is the CPU; None where the system does not tell it.
    """

    name: str
    steps: int
    seconds_per_step: float
    evaluation: float
    frozen_outputs: float
    checkpoint: float
    frozen_bytes: int
    checkpoint_bytes: int
    peak_bytes: int | None

    @property
    def seconds(self) -> float:
        """The whole stage."""
        return self.steps * self.seconds_per_step + self.evaluation + self.frozen_outputs + self.checkpoint


@dataclass
class Trial(Session):
    """A session that tells of preparations alone, and shows `first` samples of the data sets that it names.

    said: the events of the stage at work, each with the time at which it came.
    """

    first: dict[str, int] = field(default_factory=dict)
    said: list[tuple[float, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.emit = self.hear

    def dataset(self, split: str) -> Dataset:
        """The data set, or its first samples."""
        whole = as_source(super().dataset(split))
        if split not in self.first:
            return whole
        return Source(First(whole.dataset, self.first[split]), whole.name, whole.skips, whole.tell)

    def extent(self, stage: Stage) -> tuple[int, int]:
        """Those of the recipe, not of the trial."""
        named = next(each for each in self.recipe.stages if each.name == stage.name)
        return len(super().dataset("train")), named.steps

    def hear(self, event: Any) -> None:
        """Keep the event; progress and warnings go on to those who listen."""
        self.said.append((time.perf_counter(), event))
        if isinstance(event, events.Note) and (event.level == "warning" or "done" in event.details):
            self.plugins.emit(event)


def measure(session: Session) -> Iterator[StageCost]:
    """Time a few steps of every stage with its own data, losses, precision, optimiser and cache.

    Raises what a run raises.
    """
    trial = Trial(session.recipe, session.plugins, session.emit)
    for index in range(len(session.recipe.stages)):
        with tempfile.TemporaryDirectory(prefix="engine-plan-") as folder:
            yield _stage(trial, index, Path(folder))


def _stage(trial: Trial, index: int, folder: Path) -> StageCost:
    trial.first.clear()
    stage, length = trial.recipe.stages[index], len(trial.dataset("train"))
    if stage.train.cache != "off":
        trial.first["train"] = max(SAMPLES, stage.train.batch_size)
    often = {"log_every": STEPS, "evaluate_every": None, "checkpoint_every": None}
    short = stage.model_copy(update={"steps": 2 * STEPS, "train": stage.train.model_copy(update=often)})
    run = StageRun(trial, short, index, folder / stage.name, None, [], stores=folder)
    trial.said.clear()
    with peak_memory(trial.device) as peak:
        system = _system(trial, stage)
        run.train(system, CheckpointStore(folder / "checkpoint", keep=1), None)
    kept = run.samples if isinstance(run.samples, FrozenSamples) else None
    saved = next(at for at, event in trial.said if isinstance(event, events.CheckpointSaved))
    return StageCost(
        name=stage.name,
        steps=stage.steps,
        seconds_per_step=[event.seconds_per_step for _, event in trial.said if isinstance(event, events.Step)][-1],
        checkpoint=time.perf_counter() - saved,
        evaluation=_evaluations(trial, run, stage, system),
        frozen_outputs=length * _seconds_a_sample(trial.said) if kept else 0.0,
        frozen_bytes=length * kept.bytes_a_sample() if kept else 0,
        checkpoint_bytes=sum(file.stat().st_size for file in (folder / "checkpoint").rglob("*") if file.is_file()),
        peak_bytes=peak[0] if peak else None,
    )


def _system(trial: Trial, stage: Stage) -> System:
    """The system with the weights that the recipe names, as far as their files are there."""
    file = Path(stage.init) if stage.init and stage.init_is_file else None
    pretrained = trial.pretrained()
    if pretrained is not None and not pretrained.is_file():
        return trial.bare_system().to(trial.device).eval()
    return trial.system(file if file is not None and file.is_file() else None)


def _evaluations(trial: Trial, run: StageRun, stage: Stage, system: System) -> float:
    """Seconds of all evaluations of a stage, from the first samples of each data set that it measures."""
    names = [each.name for each in trial.recipe.stages]
    ends = 1 if stage.init in names else 2  # what an earlier stage handed on has been measured there
    during = 0 if stage.train.evaluate_every is None else stage.steps // stage.train.evaluate_every
    seconds = (ends + during) * len(run.warps()) * _whole_pass(trial, "val", system, stage.injection)
    return seconds + sum(2 * _whole_pass(trial, split, system, stage.injection) for split in trial.recipe.data.kept())


def _whole_pass(trial: Trial, split: str, system: System, injection: bool) -> float:
    trial.first[split] = SAMPLES
    length = len(Session.dataset(trial, split))
    inject = injection and system.corrector is not None and trial.brings(split, system.corrector.signal)
    began = time.perf_counter()
    trial.evaluate(system, split, inject=inject)
    return (time.perf_counter() - began) * length / min(length, SAMPLES)


def _seconds_a_sample(said: Sequence[tuple[float, Any]]) -> float:
    """Seconds of a frozen output; the first is computed twice."""
    notes = [event.details for _, event in said if isinstance(event, events.Note)]
    told = next(each for each in notes if "apart_in_a_batch" in each)
    return float(told["seconds"]) / (int(told["samples"]) + 1)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[int]]:
    """The largest memory in use within the block, in bytes, is in the list afterwards, unless the system hides it."""
    gc.collect()
    peak: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.append(torch.cuda.max_memory_allocated(device))
        return
    try:
        CLEAR_PEAK.write_text("5")  # which sets the peak to what is in use now
        cleared = _kilobytes("VmHWM") <= 1.01 * _kilobytes("VmRSS")  # some sandboxes take the order and ignore it
    except OSError:
        cleared = False
    yield peak
    if cleared:  # otherwise it is the peak of the process's whole life
        peak.append(1024 * _kilobytes("VmHWM"))


def _kilobytes(name: str) -> int:
    """A line of the system's account of this process; OSError where it keeps none."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0])

"""What a run would do, told without data and without memory for weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import events
from engine.errors import Problem
from engine.globs import Selection
from engine.recipe.missing import missing
from engine.recipe.schema import Stage
from engine.runs.cost import StageCost
from engine.stages.key import stage_keys
from engine.stages.outline import keep
from engine.stages.patterns import check_patterns
from engine.stages.reuse import Decision, decide, made_before
from engine.stages.session import Session
from engine.training.schedule import factor


@dataclass(frozen=True)
class PlannedStage:
    """A stage as it would run.

    init: the stage or the file that it starts from, None for the starting weights. trainable: names of the parameters
    that train. warp: the share of steps aligned by the ground truth at the start and at the end, None where the
    injection is off. optimizer: its table. learning_rates: the common rate at the first step, the end of the warm-up,
    the middle and the last step. reused_from: the run that it would be taken from, None where it would train, and the
    `reason`.
    """

    name: str
    title: str
    steps: int
    init: str | None
    trainable_parameters: int
    frozen_parameters: int
    trainable: Sequence[str]
    warp: tuple[float, float] | None
    gates: Sequence[Mapping[str, Any]]
    optimizer: Mapping[str, Any]
    learning_rates: Mapping[int, float]
    reused_from: Path | None
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    weights: what it starts from, in words. parameters: how many numbers each tensor of the system has, by its name.
    costs: what each stage would take, where that was measured. missing: weights and data that are not there yet.
    """

    name: str
    weights: str
    parameters: Mapping[str, int]
    stages: Sequence[PlannedStage]
    costs: Sequence[StageCost] = ()
    missing: Sequence[Problem] = ()


def plan(session: Session, runs: Path, processes: int = 1) -> Plan:
    """The plan of a session's recipe; `runs` is where earlier runs are, whose stages so many processes may reuse.

    InputError for patterns that match nothing, WorldError for a weights file that cannot be read.
    """
    recipe, system = session.recipe, session.outline()
    keep(recipe, system)
    selections = check_patterns(recipe, system)
    counts = {name: parameter.numel() for name, parameter in system.named_parameters()}
    decisions = _decisions(session, runs, processes)
    stages = [
        _planned(stage, selection, counts, decision)
        for stage, selection, decision in zip(recipe.stages, selections, decisions, strict=True)
    ]
    return Plan(recipe.name, recipe.model.weights or "fresh weights", counts, stages, missing=missing(recipe))


def _decisions(session: Session, runs: Path, processes: int) -> list[Decision]:
    """For every stage whether a run would take it from an earlier one, as far as can be told without data."""

    def warn(text: str) -> None:
        session.emit(events.Note("warning", text, {}))

    keys = stage_keys(session, processes)
    return decide(session.recipe, keys, made_before(runs, list(keys), warn), warn)


def _planned(stage: Stage, selection: Selection, counts: Mapping[str, int], decision: Decision) -> PlannedStage:
    trains = sum(counts[name] for name in selection.parameters)
    return PlannedStage(
        name=stage.name,
        title=stage.title,
        steps=stage.steps,
        init=stage.init,
        trainable_parameters=trains,
        frozen_parameters=sum(counts.values()) - trains,
        trainable=sorted(selection.parameters),
        warp=None if stage.warp is None else (stage.warp.gt_share(0.0), stage.warp.gt_share(1.0)),
        gates=[gate.model_dump(mode="json") for gate in stage.gates],
        optimizer=stage.train.optimizer.model_dump(mode="json"),
        learning_rates=_rates(stage),
        reused_from=decision.run,
        reason=decision.reason,
    )


def _rates(stage: Stage) -> dict[int, float]:
    steps, schedule = stage.steps, stage.train.schedule
    risen = min(math.ceil(schedule.warmup * steps), steps - 1)
    places = dict.fromkeys((0, risen, steps // 2, steps - 1))
    return {step: stage.train.optimizer.lr * factor(step, steps, schedule) for step in places}

"""One trial: a run of the recipe at one point, given up where a gate or the pruner says no."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

import engine
from engine import events
from engine.errors import DivergedError, GateRefusedError, InputError, InterruptedRunError
from engine_sweep.study import REASON, REPORTS, RUN, SECONDS
from engine_sweep.sweep import Sweep

RECIPE = "recipe.json"
SHARED = "shared"
"""The run that trained the stages before the swept ones, and whether it has."""


def carry_out(sweep: Sweep, study: optuna.Study, trial: optuna.Trial, asked: Callable[[], str]) -> str:
    """Run a trial to its end and tell the study; a few words of how it ended.

    asked: the signal that asked to stop before the run began, which hears all later ones itself; empty for none. Passes
    what is not an answer to the question: InterruptedRunError, InputError, WorldError, PluginError.
    """
    began = time.perf_counter()
    sweep.check_recipe()
    try:
        recipe = sweep.recipe_of(trial.params)
    except InputError as refused:  # before the sweep the ends of its ranges were held against the recipe, and no others
        return _end(study, trial, began, reason=f"the recipe refuses these values: {refused}".partition("\n")[0])
    watch = Watch(sweep, recipe, trial, asked)
    try:
        watch.recall()
        history = engine.run(recipe, runs=sweep.runs, resume=_unfinished(sweep, trial), listener=watch)
    except (GateRefusedError, DivergedError) as no:
        return _end(study, trial, began, reason=str(no).partition("\n")[0])
    value = figure(history.rows, recipe, sweep.metric)
    if value is None or not math.isfinite(value):
        return _end(study, trial, began, reason=f"{sweep.metric} is not defined after stage {recipe.stages[-1].name}")
    return _end(study, trial, began, value=value)


def figure(rows: Any, recipe: Any, metric: str) -> float | None:
    """The metric on validation data after the last stage, aligned as at inference, which comes last of its rows."""
    last = recipe.stages[-1].name
    means = [row["mean"] for row in rows if (row["stage"], row["moment"], row["data"]) == (last, "after", "val")]
    value: float | None = means[-1].get(metric)
    return value


def share(sweep: Sweep, study: optuna.Study, recipe: Any) -> str:
    """Train the stages before the swept ones once, for all trials to take; what was done in words, or nothing."""
    count = sweep.first_swept(recipe)
    kept = study.user_attrs.get(SHARED, {})
    if count == 0 or kept.get("done"):
        return ""

    def note(event: object) -> None:
        if isinstance(event, events.RunStarted):
            study.set_user_attr(SHARED, {"run": event.directory.name})

    folder = sweep.folder / kept.get("run", "")
    resume = folder if "run" in kept and (folder / RECIPE).is_file() else False
    first = recipe.model_copy(update={"stages": recipe.stages[:count], "name": sweep.name})
    history = engine.run(first, runs=sweep.runs, resume=resume, listener=note)
    study.set_user_attr(SHARED, {"run": history.path.name, "done": True})
    told = ", ".join(f"{stage.name} {'trained' if stage.state == 'done' else 'taken'}" for stage in history.stages)
    return f"stages that all trials share: {told} ({history.path})"


def _unfinished(sweep: Sweep, trial: optuna.Trial) -> Path | bool:
    """The run of the interrupted trial that this one goes on with; False to begin one."""
    name = trial.user_attrs.get(RUN)
    return sweep.folder / name if name and (sweep.folder / name / RECIPE).is_file() else False


def _end(study: optuna.Study, trial: optuna.Trial, began: float, reason: str = "", value: float | None = None) -> str:
    trial.set_user_attr(SECONDS, round(time.perf_counter() - began, 3))
    if value is not None:
        study.tell(trial, value)
        return f"{value:.6g}"
    trial.set_user_attr(REASON, reason)
    study.tell(trial, state=TrialState.PRUNED)
    return f"given up: {reason}"


class Watch:
    """Listens to a trial's run: notes where it is, reports its figures to the pruner, and ends it where that says so.

    A figure stands at the number of steps that the swept stages have trained by then.
    """

    def __init__(self, sweep: Sweep, recipe: Any, trial: optuna.Trial, asked: Callable[[], str]) -> None:
        self.sweep, self.trial, self.asked = sweep, trial, asked
        self.last = recipe.stages[-1].name
        self.aligned = {stage.name: "off" if stage.warp is None else "pred" for stage in recipe.stages}
        self.reported: set[int] = set()
        self.steps: dict[str, tuple[int, int]] = {}
        before = 0
        for stage in recipe.stages[sweep.first_swept(recipe) :]:
            self.steps[stage.name] = before, before + stage.steps
            before += stage.steps

    def recall(self) -> None:
        """Report again what the interrupted trial had measured, which is not measured again."""
        reports: Mapping[str, float] = self.trial.user_attrs.get(REPORTS, {})
        for step in sorted(map(int, reports)):
            self._report(step, reports[str(step)])

    def __call__(self, event: object) -> None:
        """Hear one event of the run."""
        if isinstance(event, events.RunStarted):
            self.trial.set_user_attr(RUN, event.directory.name)
            if self.asked():
                raise InterruptedRunError(f"stopped by {self.asked()} before the first step of a trial")
        elif isinstance(event, events.Evaluated) and event.data == "val" and event.ablation == "none":
            step = self._step(event)
            value = event.evaluation.mean.get(self.sweep.metric)
            if step is not None and value is not None and event.warp == self.aligned[event.stage]:
                self._report(step, value)

    def _step(self, event: events.Evaluated) -> int | None:
        """The steps behind an evaluation; None where nothing is left to save by giving up, after the very last step."""
        if event.stage not in self.steps or event.moment == "before":
            return None
        before, after = self.steps[event.stage]
        step = after if event.moment == "after" else before + int(event.moment.removeprefix("step "))
        return None if event.stage == self.last and step == after else step

    def _report(self, step: int, value: float) -> None:
        if step in self.reported:  # measured again after an interruption
            return
        self.reported.add(step)
        self.trial.report(value, step)
        if self.trial.should_prune():
            raise GateRefusedError(
                f"the pruner sees no use in going on: {self.sweep.metric} is {value:.6g} after {step} steps"
            )

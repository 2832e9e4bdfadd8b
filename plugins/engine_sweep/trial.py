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
from engine.errors import DivergedError, EngineError, GateRefusedError, InputError, InterruptedRunError
from engine_sweep.study import EXIT, REASON, REPORTS, RUN, SECONDS, in_words
from engine_sweep.sweep import Sweep

SHARED = "shared"
"""The run that trained the stages before the swept ones, and whether it has."""


def carry_out(sweep: Sweep, study: optuna.Study, trial: optuna.Trial, asked: Callable[[], str]) -> str:
    """Run a trial to its end and tell the study; a few words of how it ended.

    asked: the signal that asked to stop before the run began, which hears all later ones itself; empty for none. Passes
    what no other values would change, InterruptedRunError, WorldError and PluginError, and InputError where the sweep's
    recipe is no longer what it was.
    """
    began = time.perf_counter()
    sweep.check_recipe()
    try:
        recipe = sweep.recipe_of(trial.params)
        history = _run(sweep, recipe, trial, asked)
        value = figure(history.rows, recipe, sweep.metric)
        if value is None or not math.isfinite(value):
            raise GateRefusedError(f"{sweep.metric} is not defined after stage {recipe.stages[-1].name}")
    except InputError as refused:  # what is wrong without these values was told before the sweep
        return _give_up(study, trial, began, refused, "these values are refused: ")
    except (GateRefusedError, DivergedError) as no:
        return _give_up(study, trial, began, no)
    _note_time(trial, began)
    study.tell(trial, value)
    return f"{value:.6g}"


def _run(sweep: Sweep, recipe: Any, trial: optuna.Trial, asked: Callable[[], str]) -> Any:
    watch = Watch(sweep, recipe, trial, asked)
    watch.recall()
    shared = (f"stage-{stage.name}/record.json" for stage in recipe.stages[: sweep.first_swept(recipe)])
    resume = _to_go_on_with(sweep, trial.user_attrs.get(RUN), "recipe.json", *shared)
    return engine.run(recipe, runs=sweep.runs, resume=resume, listener=watch)


def _give_up(study: optuna.Study, trial: optuna.Trial, began: float, why: EngineError, before: str = "") -> str:
    """Tell the study that a trial came to no end: as pruned, whatever the cause.

    Of a failed trial Optuna's sampler learns nothing, and it tries an impossible choice again and again.
    """
    reason = f"{before}{why}".partition("\n")[0]
    _note_time(trial, began)
    trial.set_user_attr(REASON, reason)
    trial.set_user_attr(EXIT, why.exit_code)
    study.tell(trial, state=TrialState.PRUNED)
    return f"given up: {reason}"


def _note_time(trial: optuna.Trial, began: float) -> None:
    trial.set_user_attr(SECONDS, round(time.perf_counter() - began, 3))


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

    resume = _to_go_on_with(sweep, kept.get("run"), "stage-*/checkpoints")
    first = recipe.model_copy(update={"stages": recipe.stages[:count], "name": sweep.name})
    history = engine.run(first, runs=sweep.runs, resume=resume, listener=note)
    study.set_user_attr(SHARED, {"run": history.path.name, "done": True})
    told = ", ".join(f"{stage.name} {'trained' if stage.state == 'done' else 'taken'}" for stage in history.stages)
    return f"stages that all trials share: {told} ({history.path})"


def _to_go_on_with(sweep: Sweep, run: str | None, *needed: str) -> Path | bool:
    """The interrupted run of that name, where it holds all that is `needed`; False to begin one.

    A run takes stages from others only when it begins: one that was interrupted before it had would train them.
    """
    return run is not None and all(any((sweep.folder / run).glob(each)) for each in needed) and sweep.folder / run


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
        with in_words(self.sweep):
            self._hear(event)

    def _hear(self, event: object) -> None:
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

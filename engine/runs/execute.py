"""A run: its stages in order, each from the weights that its `init` names."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from engine import events
from engine.data.loader import as_source
from engine.errors import (
    DivergedError,
    EngineError,
    GateRefusedError,
    InterruptedRunError,
    WorldError,
)
from engine.files import file_digest, read_json
from engine.limits import limits_told
from engine.reading import fields_of, reading
from engine.recipe.missing import missing_weights
from engine.recipe.schema import Stage
from engine.registered import SINGULAR
from engine.runs import directory
from engine.runs.provenance import provenance
from engine.stages.caching import check_samples
from engine.stages.key import Document, data_identity, stage_keys
from engine.stages.patterns import check_patterns
from engine.stages.reuse import decide, made_before
from engine.stages.runner import WEIGHTS, StageRun, finished
from engine.stages.session import Session
from engine.stages.taking import take_over
from engine.system import System
from engine.training.evaluate import OWN, check_ablation, own_ablations
from engine.training.interrupt import ECHO, stop_on_signal
from engine.training.parallel import check_parallel
from engine.training.state import check_processes

STATUSES = {GateRefusedError: "refused", DivergedError: "diverged", InterruptedRunError: "interrupted"}


def execute(session: Session, folder: Path, resumed: bool, runs: Path | None = None) -> list[dict[str, Any]]:
    """Run every stage of the session's recipe in `folder`; the rows of the final table.

    A resumed run takes finished stages from the folder and goes on inside the stage that was interrupted. A new one
    takes them from the runs under `runs`, where that is not None. Whatever happens, `engine_run_finished` is called and
    the folder's status says how it ended. Raises what the stages raise.
    """
    recipe, began = session.recipe, time.perf_counter()
    if not resumed:
        session.write(folder / directory.RECIPE, recipe.resolved())
    else:
        directory.check_recipe(folder)
        if began_with := directory.processes_of(folder):
            check_processes(began_with, session.accelerator.num_processes)
        if session.leads:
            (folder / directory.STATUS).unlink(missing_ok=True)  # it told how the part before this one ended
    plugins = {
        each.plugin: each.distribution
        for kind in SINGULAR
        for each in (session.plugins.get(kind, name) for name in session.plugins.names(kind))
    }
    times = len(list(folder.glob("provenance*.json")))
    name = f"provenance-resumed-{times}.json" if resumed else directory.PROVENANCE
    if session.leads:
        noted = {
            "processes": session.accelerator.num_processes,
            "recipe_digest": file_digest(folder / directory.RECIPE),
        }
        session.write(folder / name, provenance(recipe.seed, plugins) | noted)
    rows: list[dict[str, Any]] = []
    gates: list[dict[str, Any]] = []
    status, message = "failed", "stopped by an error"
    # To the last line that is written: a signal that comes after the last step finds nothing to stop.
    echo = ECHO if session.accelerator.num_processes > 1 else 0.0
    with stop_on_signal(echo, session.on_stop if session.leads else None) as session.stop:
        try:
            stages = [(stage.name, stage.title, stage.steps) for stage in recipe.stages]
            asked = [(stage.name, gate.at, gate.check) for stage in recipe.stages for gate in stage.gates]
            session.emit(events.RunStarted(recipe.name, folder, stages, resumed, str(session.device), asked))
            keys = stage_keys(session, session.accelerator.num_processes) if session.leads else {}
            if runs is not None and not resumed:
                _take_finished(session, folder, runs, keys)
            with limits_told(recipe.where("deterministic")):
                for index, stage in enumerate(recipe.stages):
                    _stage(session, folder, index, stage, rows, gates, keys.get(stage.name))
            status, message = "done", ""
        except EngineError as error:
            status, message = STATUSES.get(type(error), "failed"), str(error)
            raise
        finally:
            # Nothing is raised in here: it would replace the error that ended the run.
            failures: list[EngineError] = []
            try:
                session.write(folder / directory.STATUS, {"status": status, "message": message, "rows": rows})
            except EngineError as error:
                failures.append(error)
                if status == "done":
                    status, message = "failed", str(error)
            try:
                seconds = time.perf_counter() - began
                session.emit(events.RunFinished(status, seconds, folder, rows, message, gates))
            except EngineError as error:
                failures.append(error)
    if failures:
        raise failures[0]
    return rows


def preflight(session: Session) -> None:
    """All that can be told before a run directory exists: patterns, processes, files, scenes; raises what is wrong."""
    outline = session.outline()
    check_patterns(session.recipe, outline)
    known = [OWN, *own_ablations(outline)]
    for number, name in enumerate(session.recipe.evaluate.ablations):
        check_ablation(name, known, session.recipe.where("evaluate", "ablations", number))
    check_parallel(session.accelerator, [stage.train for stage in session.recipe.stages])
    if gone := missing_weights(session.recipe):  # a folder of data may be one that its data set makes
        raise WorldError("\n".join(map(str, gone)))
    session.check_scenes()
    check_samples(session)
    check_signal(session, outline)


def check_signal(session: Session, outline: System) -> None:
    """InputError where a stage has an injection whose signal the data do not bring: that stage may begin days later."""
    if outline.corrector is None or not any(stage.injection for stage in session.recipe.stages):
        return
    for split in ("train", "val"):
        source = as_source(session.dataset(split))
        sample = fields_of(source.first(partial(source.sample, rng=None)), str(source))
        with reading(outline.names[1]):
            for name in outline.corrector.signal:
                sample[name]


def _take_finished(session: Session, folder: Path, runs: Path, keys: Mapping[str, Document]) -> None:
    """Take over what runs under `runs` have finished, and tell of every stage why it is taken or runs.

    The first process decides. It decides for all stages before any of them trains, so that a run which is interrupted
    afterwards has in its own folder what it is resumed from.
    """
    warn = partial(_warn, session)
    made = made_before(runs, list(keys), warn)
    # Data are prepared by all processes together, and read only where a stage could be taken.
    data = data_identity(session) if session.agree(any(each.of == keys[each.stage] for each in made)) else {}
    stages = {stage.name: stage for stage in session.recipe.stages}
    for decision in decide(session.recipe, keys, made, warn, data) if made else ():
        verb, details = "runs", dict(vars(decision))
        if decision.run is not None:
            origin = _provenance(decision.run, warn)
            record = take_over(decision.run, stages[decision.stage], folder, origin)
            verb = f"is taken from {decision.run}"
            details |= {"taken": "reused", "gates": record["gates"]}
        session.emit(events.Note("info", f"stage {decision.stage} {verb}: {decision.reason}", details))
    session.accelerator.wait_for_everyone()


def _provenance(run: Path, warn: Callable[[str], None]) -> dict[str, Any]:
    """Where a run comes from, for the stages that are taken from it; empty where that is damaged."""
    try:
        return read_json(run / directory.PROVENANCE)
    except WorldError as damage:
        warn(f"{damage}; a stage that is taken from there does not tell where it comes from")
        return {}


def _warn(session: Session, text: str) -> None:
    session.emit(events.Note("warning", text, {}))


def _stage(
    session: Session,
    folder: Path,
    index: int,
    stage: Stage,
    rows: list[dict[str, Any]],
    gates: list[dict[str, Any]],
    key: Document | None,
) -> None:
    """Run one stage, or take it from the folder when it is finished there; `rows` and `gates` grow by what it tells."""
    place = folder / f"stage-{stage.name}"
    record = finished(place, lambda text: session.emit(events.Note("warning", text, {"stage": stage.name})))
    if record is not None:
        if "reused" not in record:
            text = f"stage {stage.name} is finished and taken from the run"
            details = {"stage": stage.name, "taken": "here", "gates": record["gates"]}
            session.emit(events.Note("info", text, details))
        rows += record["rows"]
        gates += [{"stage": stage.name, **gate} for gate in record["gates"]]
        return
    parents = {each.name: each for each in session.recipe.stages}
    parent = parents.get(stage.init) if stage.init else None
    source = folder / f"stage-{parent.name}" / WEIGHTS if parent else (Path(stage.init) if stage.init else None)
    running = StageRun(session, stage, index, place, source, rows, key=key)
    try:
        running.run(parent, measure_first=parent is None)
    finally:
        gates += [{"stage": stage.name, **gate} for gate in running.gates]

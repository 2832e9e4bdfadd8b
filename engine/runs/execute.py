"""A run: its stages in order, each from the weights that its `init` names."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from engine import events
from engine.errors import (
    DivergedError,
    EngineError,
    GateRefusedError,
    InterruptedRunError,
    Problem,
    WorldError,
    nearest,
)
from engine.files import file_digest
from engine.plugins import SINGULAR
from engine.recipe.schema import Stage
from engine.runs import directory
from engine.runs.provenance import provenance
from engine.stages.caching import check_samples
from engine.stages.patterns import check_patterns
from engine.stages.runner import WEIGHTS, StageRun, finished
from engine.stages.session import Session
from engine.training.interrupt import ECHO, stop_on_signal

STATUSES = {GateRefusedError: "refused", DivergedError: "diverged", InterruptedRunError: "interrupted"}


def execute(session: Session, folder: Path, resumed: bool) -> list[dict[str, Any]]:
    """Run every stage of the session's recipe in `folder`; the rows of the final table.

    A resumed run takes finished stages from the folder and goes on inside the stage that was interrupted. Whatever
    happens, `engine_run_finished` is called and the folder's status says how it ended. Raises what the stages raise.
    """
    recipe, began = session.recipe, time.perf_counter()
    if not resumed:
        session.write(folder / directory.RECIPE, recipe.resolved())
    else:
        directory.check_recipe(folder)
        if session.leads:
            (folder / directory.STATUS).unlink(missing_ok=True)  # it told how the part before this one ended
    plugins = {
        each.plugin: each.distribution
        for kind in SINGULAR
        for each in (session.plugins.get(kind, name) for name in session.plugins.names(kind))
    }
    times = len(list(folder.glob("provenance*.json")))
    name = f"provenance-resumed-{times}.json" if resumed else directory.PROVENANCE
    noted = {"recipe_digest": file_digest(folder / directory.RECIPE)} if session.leads else {}
    session.write(folder / name, provenance(recipe.seed, plugins) | noted)
    rows: list[dict[str, Any]] = []
    status, message = "failed", "stopped by an error"
    # To the last line that is written: a signal that comes after the last step finds nothing to stop.
    with stop_on_signal(ECHO if session.accelerator.num_processes > 1 else 0.0) as session.stop:
        try:
            stages = [(stage.name, stage.title, stage.steps) for stage in recipe.stages]
            session.emit(events.RunStarted(recipe.name, folder, stages, resumed, str(session.device)))
            for index, stage in enumerate(recipe.stages):
                _stage(session, folder, index, stage, rows)
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
                session.emit(events.RunFinished(status, time.perf_counter() - began, folder, rows, message))
            except EngineError as error:
                failures.append(error)
    if failures:
        raise failures[0]
    return rows


def preflight(session: Session) -> None:
    """All that can be told before a run directory exists: patterns, weights files, scenes; raises what is wrong."""
    check_patterns(session.recipe, session.outline())
    check_files(session)
    session.check_scenes()
    check_samples(session)


def check_files(session: Session) -> None:
    """Make sure that every weights file the recipe names is there; WorldError with its place and the nearest names."""
    recipe = session.recipe
    named = [(recipe.where("model", "weights"), session.pretrained())]
    named += [
        (recipe.where("stage", i, "init"), Path(s.init))
        for i, s in enumerate(recipe.stages)
        if s.init and s.init_is_file
    ]
    missing = []
    for where, path in named:
        if path is not None and not path.is_file():
            beside = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
            missing.append(Problem(where, f"there is no weights file {path}", near=nearest(path.name, beside)))
    if missing:
        raise WorldError("\n".join(str(problem) for problem in missing))


def _stage(session: Session, folder: Path, index: int, stage: Stage, rows: list[dict[str, Any]]) -> None:
    """Run one stage, or take it from the folder when it is finished there; `rows` grows by what was measured."""
    place = folder / f"stage-{stage.name}"
    record = finished(place, lambda text: session.emit(events.Note("warning", text, {"stage": stage.name})))
    if record is not None:
        session.emit(
            events.Note("info", f"stage {stage.name} is finished and taken from the run", {"folder": place.name})
        )
        rows += record["rows"]
        return
    parents = {each.name: each for each in session.recipe.stages}
    parent = parents.get(stage.init) if stage.init else None
    source = folder / f"stage-{parent.name}" / WEIGHTS if parent else (Path(stage.init) if stage.init else None)
    StageRun(session, stage, index, place, source, rows).run(parent, measure_first=parent is None)

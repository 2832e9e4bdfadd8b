"""`engine run`: train a recipe's stages to the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.opening import (
    JsonOption,
    QuietOption,
    RecipeArgument,
    RunsOption,
    SetOption,
    console,
    open_session,
    print_json,
    read_recipe,
)
from engine.hookspecs import hookimpl

if TYPE_CHECKING:
    from rich.console import Console

    from engine.events import RunFinished
    from engine.recipe.schema import TrackerTable
    from engine.reporting.profile import PluginProfile
    from engine.stages.session import Session


def run(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished run of this recipe.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train every stage, also those that an earlier run has finished.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--processes", min=1, metavar="N", help="Processes on this machine, one a GPU.")
    ] = 1,
    runs: RunsOption = Path("runs"),
    profile_plugins: Annotated[
        bool, typer.Option("--profile-plugins", help="Account the time and memory of every plugin; on a GPU it slows.")
    ] = False,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Trace a few steps of every stage with torch's profiler."),
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Train a recipe's stages in order: gates, freeze and its proof, steps, evaluation.

    Everything goes to runs/RECIPE/TIME-ID: the resolved recipe, provenance, events.jsonl, a folder a stage. Stages that
    a run under --runs has finished, and nothing that they depend on has changed since, are taken from there.

        engine run recipe.toml

        engine run recipe.toml --set stage.B.steps=50 --set seed=1

        engine run recipe.toml --resume

        engine run recipe.toml --fresh

        engine run recipe.toml --processes 4

        engine run recipe.toml --profile

        engine run recipe.toml --profile-plugins
    """
    from engine.cli.processes import launch, launched

    if not launched(processes):
        launch(processes, sys.argv[1:])
        return
    from engine.errors import InputError, InterruptedRunError
    from engine.reporting.event_log import EventLog
    from engine.reporting.trace import StepTrace
    from engine.runs import directory
    from engine.runs.execute import execute, preflight

    if resume and fresh:
        raise InputError("--resume goes on with a run, and --fresh begins one", "give one of them")
    asked = read_recipe(recipe, overrides)
    if not asked.stages:
        raise InputError(
            f"{recipe} declares no stages, so there is nothing to run", "`engine eval` measures without training"
        )
    out = console(as_json=json)
    trackers = asked.trackers  # of a resumed run too, which may have been told to others before
    if resume:
        folder = recipe if directory.is_run(recipe) else directory.unfinished(runs, asked.name)
        kept = read_recipe(folder, [])
        if kept.training() != asked.training():
            raise InputError(
                f"the recipe differs from the one that {folder} was started with", f"engine run {folder} --resume"
            )
        asked = kept
    session = open_session(asked, out, quiet)
    session.plugins.register_object(EventLog(), "event log")
    if session.leads and trackers:
        track(session, trackers)  # before the accounts of plugins, which are kept for one thread
    plugins = plugin_profile(session, out) if profile_plugins else None
    if profile and session.leads:
        session.trace = StepTrace(out, session.device.type)
        session.plugins.register_object(session.trace, "trace")
    if json:
        session.plugins.register_object(JsonDocument(plugins), "JSON document")
    preflight(session)
    if not resume:
        folder = session.agree(directory.create(runs, asked.name) if session.leads else None)
    with directory.alone(folder) if session.leads else nullcontext():
        try:
            execute(session, folder, resume, None if fresh else runs)
        except InterruptedRunError as stopped:
            again = f"engine run {folder} --resume" + (f" --processes {processes}" if processes > 1 else "")
            raise InterruptedRunError(f"{stopped}; go on with: {again}") from stopped


class JsonDocument:
    """Prints what a finished run measured; a listener, so that no other listener's failure at the end hides it."""

    def __init__(self, profile: PluginProfile | None) -> None:
        self.profile = profile

    @hookimpl(trylast=True)
    def engine_run_finished(self, event: RunFinished) -> None:
        """Print the run's directory, the rows of its final table, and what its plugins took where that was asked."""
        if event.status == "done":
            took = {"profile": self.profile.to_dict()} if self.profile else {}
            print_json({"run": str(event.directory), "rows": event.summary, **took})


def track(session: Session, tables: Sequence[TrackerTable]) -> None:
    """Tell the programs that `tables` name of this run."""
    from engine.reporting.tracking import Tracking, build_trackers

    trackers = build_trackers(session.plugins, tables)
    session.plugins.register_object(Tracking(session.recipe, trackers, session.emit), "tracking")


def plugin_profile(session: Session, out: Console) -> PluginProfile:
    """Measure what the session's plugins take from now on."""
    import torch

    from engine.reporting.profile import PluginProfile

    workers = any(stage.train.workers for stage in session.recipe.stages)
    settle = torch.cuda.synchronize if session.device.type == "cuda" else None
    return PluginProfile(session.plugins, out, session.write, workers, settle)

"""`engine run`: train a recipe's stages to the end."""

from __future__ import annotations

import sys
from functools import partial
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

    Everything goes to runs/RECIPE/TIME-ID: the resolved recipe, provenance, events.jsonl, a folder a stage, and at the
    end report.html. Stages that a run under --runs has finished, and nothing that they depend on has changed since, are
    taken from there.

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
    from engine.errors import InputError
    from engine.reporting.recording import recording
    from engine.reporting.trace import StepTrace
    from engine.runs.conduct import conduct, to_resume
    from engine.runs.directory import is_run

    if resume and fresh:
        raise InputError("--resume goes on with a run, and --fresh begins one", "give one of them")
    asked = read_recipe(recipe, overrides)
    out = console(as_json=json)
    trackers = asked.trackers  # of a resumed run too, which may have been told to others before
    folder = None
    if resume:
        folder, asked = to_resume(asked, runs, recipe if is_run(recipe) else None)
    session = open_session(asked, out, quiet)
    say = partial(out.print, soft_wrap=True, markup=False)
    with recording(session, trackers, say, quiet):  # before the accounts of plugins, which are kept for one thread
        plugins = plugin_profile(session, out) if profile_plugins else None
        if profile and session.leads:
            session.trace = StepTrace(out, session.device.type)
            session.plugins.register_object(session.trace, "trace")
        if json:
            session.plugins.register_object(JsonDocument(plugins), "JSON document")
        conduct(session, runs, folder, fresh, again=f" --processes {processes}" if processes > 1 else "")


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


def plugin_profile(session: Session, out: Console) -> PluginProfile:
    """Measure what the session's plugins take from now on."""
    import torch

    from engine.reporting.profile import PluginProfile

    workers = any(stage.train.workers for stage in session.recipe.stages)
    settle = torch.cuda.synchronize if session.device.type == "cuda" else None
    return PluginProfile(session.plugins, out, session.write, workers, settle)

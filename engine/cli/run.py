"""`engine run`: train a recipe's stages to the end."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import JsonOption, RecipeArgument, SetOption, console, open_session, print_json, read_recipe


def run(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished run of this recipe.")
    ] = False,
    runs: Annotated[Path, typer.Option("--runs", help="Where run directories are made.")] = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Train a recipe's stages in order: gates, freeze and its proof, steps, evaluation.

    Everything goes to runs/RECIPE/TIME-ID: the resolved recipe, provenance, events.jsonl, a folder a stage.

        engine run recipes/s2m2_pol.toml

        engine run recipes/s2m2_pol.toml --set stage.B.steps=50 --set seed=1

        engine run recipes/s2m2_pol.toml --resume
    """
    from engine.errors import InputError, InterruptedRunError
    from engine.reporting.event_log import EventLog
    from engine.runs import directory
    from engine.runs.execute import execute, preflight

    asked = read_recipe(recipe, overrides)
    if not asked.stages:
        raise InputError(
            f"{recipe} declares no stages, so there is nothing to run", "`engine eval` measures without training"
        )
    out = console(as_json=json)
    if resume:
        folder = recipe if directory.is_run(recipe) else directory.unfinished(runs, asked.name)
        kept = read_recipe(folder, [])
        if kept.resolved() != asked.resolved():
            raise InputError(
                f"the recipe differs from the one that {folder} was started with", f"engine run {folder} --resume"
            )
        asked = kept
    session = open_session(asked, out)
    session.plugins.register_object(EventLog(), "event log")
    preflight(session)
    if not resume:
        folder = session.agree(directory.create(runs, asked.name) if session.leads else None)
    with directory.alone(folder) if session.leads else nullcontext():
        try:
            rows = execute(session, folder, resume)
        except InterruptedRunError as stopped:
            raise InterruptedRunError(f"{stopped}; go on with: engine run {folder} --resume") from stopped
    if json and session.leads:
        print_json({"run": str(folder), "rows": rows})

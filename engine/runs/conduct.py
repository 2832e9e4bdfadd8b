"""A run from its recipe to its directory: checked, begun or resumed, and held while it goes on."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from engine.errors import InputError, InterruptedRunError, Problem
from engine.recipe.difference import changed
from engine.recipe.load import load_recipe
from engine.recipe.schema import Recipe
from engine.runs import directory
from engine.runs.execute import execute, preflight
from engine.stages.session import Session


def to_resume(recipe: Recipe, runs: Path, folder: Path | None = None) -> tuple[Path, Recipe]:
    """The directory of the run to go on with, its newest unfinished one unless `folder` is given, and its recipe.

    InputError when there is none, or when it was started with another recipe: what of it differs, and where.
    """
    folder = folder or directory.unfinished(runs, recipe.name)
    kept = load_recipe(folder / directory.RECIPE)
    if differ := changed(kept, recipe):
        raise InputError(
            [Problem("", f"the recipe differs from the one that {folder} was started with"), *differ],
            f"`engine run {folder} --resume` goes on with that one",
        )
    return folder, kept


def conduct(session: Session, runs: Path, resumed: Path | None = None, fresh: bool = False, again: str = "") -> Path:
    """Run the stages of a session's recipe in a new directory under `runs`, or in `resumed`; the directory.

    fresh: take no stage from an earlier run. again: further words of the command that resumes it. Raises InputError for
    what is wrong with the recipe before there is a directory, then what the stages raise.
    """
    if not session.recipe.stages:
        raise InputError(
            f"recipe '{session.recipe.name}' declares no stages, so there is nothing to run",
            "`engine eval` measures without training",
        )
    preflight(session)
    folder = resumed or session.agree(directory.create(runs, session.recipe.name) if session.leads else None)
    with directory.alone(folder) if session.leads else nullcontext():
        try:
            execute(session, folder, resumed is not None, None if fresh else runs)
        except InterruptedRunError as stopped:
            raise InterruptedRunError(f"{stopped}; go on with: engine run {folder} --resume{again}") from stopped
    return folder

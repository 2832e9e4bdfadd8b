"""`engine check`: is a recipe right?"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.opening import JsonOption, SetOption

if TYPE_CHECKING:
    from engine.recipe.schema import Recipe


def check(
    recipes: Annotated[
        list[Path], typer.Argument(metavar="RECIPE...", help="Recipes to validate.", show_default=False)
    ],
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    json: JsonOption = False,
) -> None:
    """Validate recipes: keys, types, plugins and their options, gates, and every glob against the modules.

    All mistakes are listed at once as file:line:column, those of globs once the keys are right. Reads no data and no
    weights. Those that are not there yet are named, and are no mistake: they may come before the run, or lie on another
    machine. The names of the modules are kept in the cache: the next check of the same network takes a fraction of a
    second. Where a network needs what is not there, its globs are not looked at, and the check says so.

        engine check recipes/*.toml
    """
    from engine.cli.opening import print_json, read_recipe
    from engine.errors import InputError, Problem
    from engine.recipe.missing import missing

    problems: list[Problem] = []
    advice: list[str] = []
    found: list[dict[str, Any]] = []
    for path in recipes:
        try:
            recipe = read_recipe(path, overrides)
            unseen = check_globs(recipe)
        except InputError as error:
            problems += error.problems
            advice += [error.advice] if error.advice else []
            found.append({"recipe": path, "good": False, "problems": [vars(problem) for problem in error.problems]})
        else:
            names = [stage.name for stage in recipe.stages]
            typer.echo(f"{path}: good ({' -> '.join(names) or 'no stages, evaluation only'})", err=json)
            if unseen:
                typer.echo(f"  its globs were not looked at: {unseen}", err=json)
            gone = missing(recipe)
            for problem in gone:
                typer.echo(f"  not there yet: {problem}", err=json)
            found.append(
                {
                    "recipe": path,
                    "good": True,
                    "stages": names,
                    "missing": [vars(problem) for problem in gone],
                    "globs_unseen": unseen or None,
                }
            )
    if json:
        print_json({"recipes": found})
    if problems:
        raise InputError(problems, "\n".join(dict.fromkeys(advice)))


def check_globs(recipe: Recipe) -> str:
    """Hold the patterns against the outline that is kept, or else against the modules, and keep theirs.

    Returns what of the world is missing to build the modules; the recipe may be right all the same.
    """
    from engine.errors import InputError, WorldError
    from engine.stages.outline import keep, kept
    from engine.stages.patterns import check_patterns

    outline = kept(recipe)
    if outline is not None:
        with suppress(InputError):  # the modules may have changed where the outline does not see it
            check_patterns(recipe, outline)
            return ""
    from engine.stages.session import Session

    try:
        system = Session(recipe, recipe.registry, recipe.registry.emit).outline()
    except WorldError as missing:
        return str(missing)
    keep(recipe, system)
    check_patterns(recipe, system)
    return ""

"""`engine check`: is a recipe right?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import SetOption, console


def check(
    recipes: Annotated[
        list[Path], typer.Argument(metavar="RECIPE...", help="Recipes to validate.", show_default=False)
    ],
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
) -> None:
    """Validate recipes: keys, types, plugins and their options, gates, and every glob against the modules.

    All mistakes are listed at once as file:line:column. Reads no data and no weights.

        engine check recipes/*.toml
    """
    from engine.cli.opening import open_session, read_recipe
    from engine.errors import InputError, Problem
    from engine.runs.execute import check_patterns

    out = console()
    problems: list[Problem] = []
    for path in recipes:
        try:
            recipe = read_recipe(path, overrides)
            session = open_session(recipe, out)
            check_patterns(session)
        except InputError as error:
            problems += error.problems
        else:
            stages = " -> ".join(stage.name for stage in recipe.stages) or "no stages, evaluation only"
            out.print(f"{path}: good ({stages})", soft_wrap=True, markup=False)
            weights = session.pretrained()
            if weights is not None and not weights.is_file():
                out.print(f"  its weights are not there yet: {weights}", soft_wrap=True, markup=False)
    if problems:
        raise InputError(problems)

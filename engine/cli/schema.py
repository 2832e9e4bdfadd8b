"""`engine schema`: what editors complete and check recipes by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import print_json


def schema(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="Plugin files to load as well.", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of recipes, with the options of every plugin that is installed.

    docs/editors.md tells how editors use it. After a plugin is installed or removed, print it again.

        engine schema > recipe.schema.json

        engine schema my_plugin.py > recipe.schema.json
    """
    from engine.plugins import load
    from engine.recipe.json_schema import recipe_schema

    loaded = load(files or ())
    print_json(recipe_schema(loaded))
    for line in loaded.broken:
        typer.secho(line, fg="yellow", err=True)

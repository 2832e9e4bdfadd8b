"""`engine plugins`: what is installed and what it brings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import JsonOption, console, print_json


def plugins(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="Plugin files to load as well.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """List everything that plugins bring, with the plugin it comes from; broken plugins are named last.

    engine plugins

    engine plugins my_plugin.py --json
    """
    from rich.table import Table

    from engine.plugins import SINGULAR, load

    loaded = load(files or ())
    things = [loaded.get(kind, name) for kind in SINGULAR for name in loaded.names(kind)]
    if json:
        found = [
            {
                "kind": each.kind,
                "name": each.name,
                "plugin": each.plugin,
                "distribution": each.distribution,
                "options": each.options.model_json_schema(),
            }
            for each in things
        ]
        print_json({"plugins": found, "broken": loaded.broken})
        return
    table = Table(box=None)
    for column in ("kind", "name", "plugin", "distribution", "options"):
        table.add_column(column)
    for each in things:
        table.add_row(each.kind, each.name, each.plugin, each.distribution, ", ".join(each.options.model_fields))
    out = console()
    out.print(table)
    for line in loaded.broken:
        out.print(f"[yellow]{line}[/yellow]", soft_wrap=True)

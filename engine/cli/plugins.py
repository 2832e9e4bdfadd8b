"""`engine plugins`: what is installed and what it brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.opening import JsonOption, print_json

if TYPE_CHECKING:
    from engine.plugins import Loaded


def plugins(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="Plugin files to load as well.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """List everything that plugins bring, with the plugin it comes from; broken plugins are named last.

    --json has the plugins with their versions and hooks, and the schema of the options of each thing they bring. The
    variable ENGINE_PLUGIN_TRACE=1 has any command tell every call of a hook on standard error.

        engine plugins

        engine plugins my_plugin.py --json
    """
    from engine.cli.brought import note
    from engine.plugins import load
    from engine.registered import SINGULAR

    loaded = load(files or ())
    if not files:
        note(loaded)
    things = [loaded.get(kind, name) for kind in SINGULAR for name in loaded.names(kind)]
    if json:
        at_work = [
            {"name": each.name, "distribution": _name(each), "version": _version(each), "hooks": each.hooks}
            for each in loaded.loaded()
        ]
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
        commands = [
            {"name": each.name, "line": each.line, "plugin": each.plugin, "distribution": each.distribution}
            for each in loaded.commands()
        ]
        print_json({"plugins": at_work, "brought": found, "commands": commands, "broken": loaded.broken})
        return
    rows = [("kind", "name", "plugin", "distribution", "options")]
    rows += [(e.kind, e.name, e.plugin, e.distribution, ", ".join(e.options.model_fields)) for e in things]
    rows += [("commands", each.name, each.plugin, each.distribution, each.line) for each in loaded.commands()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for line in loaded.broken:
        typer.secho(line, fg="yellow")


def _name(plugin: Loaded) -> str | None:
    """The distribution of an installed plugin; a file has none."""
    return None if plugin.distribution == plugin.name else plugin.distribution.partition(" ")[0]


def _version(plugin: Loaded) -> str | None:
    return None if plugin.distribution == plugin.name else plugin.distribution.partition(" ")[2] or None

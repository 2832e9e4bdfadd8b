"""Commands that plugins bring, and the list by which `engine --help` knows them without loading a plugin.

Loading the plugins takes three times as long as `engine --help`. So their commands are noted in the cache, under a
stamp of the folders that Python imports from: installing or removing something changes it, and the next list is made
anew. Whatever else loads all plugins from the command line (`engine plugins`, a command of a plugin) notes it too.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from engine.data.cache import cache_directory
from engine.errors import EngineError, WorldError
from engine.files import write_json

if TYPE_CHECKING:
    from engine.plugins import Plugins
    from engine.registered import Command

USER_MISTAKES = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What typer tells a user in words: a class of click, or of typer, which has it inside in newer versions."""


def listed() -> Mapping[str, str]:
    """The commands of installed plugins with the line of each, from the cache, else by loading the plugins."""
    with suppress(WorldError, OSError, ValueError, KeyError, TypeError, AttributeError):  # there is none, or damage
        file, stamp = _place()
        kept = json.loads(file.read_bytes())
        if kept["stamp"] == stamp:
            return {str(name): str(line) for name, line in kept["commands"].items()}
    return {command.name: command.line for command in brought()[0]}


def brought() -> tuple[Sequence[Command], Sequence[str]]:
    """The commands of installed plugins, and a line for each plugin that could not be loaded."""
    from engine.plugins import load

    plugins = load()
    note(plugins)
    return plugins.commands(), plugins.broken


def note(plugins: Plugins) -> None:
    """Keep the list for the next `engine --help`; a cache that is not there or cannot be written costs only time."""
    commands = {command.name: command.line for command in plugins.commands()}
    with suppress(WorldError):
        file, stamp = _place()
        write_json(file, {"stamp": stamp, "commands": commands})


def guarded_command(command: Command) -> Any:
    """The command as typer runs it; what it raises names the plugin, unless it is a word to the user."""
    from engine.cli.main import as_command
    from engine.registered import guarded

    found = command.imported()
    with guarded(f"{command} could not be made"):  # of a parameter that typer cannot read
        made = as_command(found)
    run = made.invoke

    def invoke(context: Any) -> Any:
        with guarded(f"{command} failed", (EngineError, OSError, SystemExit, typer.Exit, typer.Abort, USER_MISTAKES)):
            return run(context)

    made.invoke = invoke
    return made


def _place() -> tuple[Path, list[list[Any]]]:
    """The file of the list, and what it must have been made from: the folders Python imports from, with their times.

    Without the first one, which is that of the script, or the working directory.
    """
    stamp = [[folder, _changed(folder)] for folder in sys.path[1:]]
    name = f"{zlib.crc32(os.fsencode(os.pathsep.join(sys.path[1:]))):08x}.json"
    return cache_directory("commands") / name, stamp


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  # `engine --help` waits for it
    except OSError:
        return 0

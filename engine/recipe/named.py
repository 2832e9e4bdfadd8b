"""`NAME:KEY=VALUE,KEY=VALUE`: one thing of a plugin with its options, from the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from engine.errors import InputError, Problem
from engine.plugins import Plugins
from engine.recipe.nodes import Node, Source, build
from engine.recipe.options import make_paths_absolute, parse_options
from engine.recipe.overrides import value_of
from engine.recipe.wording import problems_of
from engine.registered import Kind, Registered, guarded

FORM = "NAME:KEY=VALUE,KEY=VALUE"

# A comma ends a value only before the next KEY=, so that [256, 512] and a path with a comma stay whole.
_NEXT = re.compile(r",(?=\s*[A-Za-z_][\w-]*\s*=)")


def table_of(flag: str, text: str) -> Node:
    """The table that `flag` asks for: its name under "plugin", and its options. InputError where it is none."""
    source = Source(f"{flag} {text}", Path.cwd(), is_override=True)
    name, colon, rest = text.partition(":")
    table: dict[str, Any] = {"plugin": name.strip()}
    for item in _NEXT.split(rest) if colon else []:
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or key.strip() in table:
            raise InputError(Problem(source.name, f"{item.strip()!r} sets no option, or one twice", FORM))
        table[key.strip()] = value_of(value.strip())
    if not table["plugin"]:
        raise InputError(Problem(source.name, "this names nothing", FORM))
    return build(table, source)


def asked_for(registry: Plugins, kind: Kind, flag: str, text: str) -> tuple[Registered, BaseModel]:
    """What `flag` asks for with its validated options; InputError with every mistake in them."""
    node = table_of(flag, text)
    registered = registry.find(kind, node.text("plugin"))
    if registered is None:
        raise InputError(registry.unknown(node.source.name, kind, node.text("plugin")), "\n".join(registry.broken))
    options = Node({key: child for key, child in node.value.items() if key != "plugin"}, node.source, ())
    return registered, checked(registered, options)


def checked(registered: Registered, options: Node) -> BaseModel:
    """The options of something registered, its paths made absolute; InputError with every mistake in them."""
    make_paths_absolute(registered.options, options)
    try:
        with guarded(f"the options of {registered} could not be checked", passing=ValidationError):
            return parse_options(registered.options, options.plain())
    except ValidationError as error:
        raise InputError(problems_of(error, options, registered.options)) from error

"""`--set key.path=value`: one value of the recipe from the command line, typed and checked like the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli

from engine.errors import Problem, nearest
from engine.recipe.nodes import Node, Source, build, labels, merge


def apply(root: Node, overrides: Sequence[str]) -> list[Problem]:
    """Write `overrides` into `root`, the later over the earlier; returns those that name no place.

    Tables in arrays are addressed by their `name` (stages, losses, metrics), `check` (gates) or `plugin` (trackers):
    stage.B.steps=50.
    """
    return [problem for override in overrides if (problem := _apply(root, override))]


def value_of(text: str) -> Any:
    """`text` as a TOML value; what is not valid TOML is taken as a string, so that quotes can be left out."""
    try:
        data = tomli.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return data["value"] if data.keys() == {"value"} else text  # a line break could smuggle in further keys


def _apply(root: Node, override: str) -> Problem | None:
    source = Source(f"--set {override}", Path.cwd(), is_override=True)
    key, equals, text = override.partition("=")
    parts = _parts(key)
    if not equals or not parts:
        return Problem(source.name, "this is not an override", "key.path=value")

    node = root
    for index, part in enumerate(parts[:-1]):
        if isinstance(node.value, dict):
            node = node.value.setdefault(part, Node({}, source, tuple(parts[: index + 1])))
        else:
            place = _item(node, parts[: index + 1], source)
            if isinstance(place, Problem):
                return place
            node = node.value[place]

    new = build(value_of(text.strip()), source, tuple(parts))
    if isinstance(node.value, dict):
        old = node.value.get(parts[-1])
        node.value[parts[-1]] = merge(old, new) if old is not None else new
        return None
    place = _item(node, parts, source)
    if isinstance(place, Problem):
        return place
    node.value[place] = merge(node.value[place], new)
    return None


def _parts(key: str) -> list[str]:
    """The parts of a dotted key, quotes and escapes undone as in the file; empty when it is no key."""
    try:
        table: Any = tomli.loads(f"{key.strip()} = 0")
    except (ValueError, RecursionError):
        return []
    parts = []
    while isinstance(table, dict) and len(table) == 1:
        name, table = next(iter(table.items()))
        parts.append(name)
    return parts if table == 0 else []


def _item(array: Node, parts: list[str], source: Source) -> int | Problem:
    """The index of the table that the last of `parts` names, in the array that the others lead to."""
    around = ".".join(parts[:-1])
    if not isinstance(array.value, list):
        return Problem(source.name, f"{around!r} is a value, not a table")
    known = labels(array)
    found = [index for label, index in known if label == parts[-1]]
    if len(found) == 1:
        return found[0]
    if found:
        return Problem(source.name, f"{len(found)} tables of {around!r} are named {parts[-1]!r}")
    names = [label for label, _ in known]
    near = nearest(parts[-1], names)
    expected = "" if near else f"one of {', '.join(names)}" if names else ""
    return Problem(source.name, f"{around!r} has no table named {parts[-1]!r}", expected, near)

"""A recipe as TOML that people go on writing: its tables in their order, and comments beside the keys."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from engine.recipe.nodes import KeyPath

WIDTH = 120
INDENT = " " * 4
COLUMN = 40
"""Where a comment begins that stands beside its key."""


def toml_of(recipe: Mapping[str, Any], notes: Mapping[KeyPath, str]) -> str:
    """The TOML text of a recipe that is plain data.

    notes: what is said above a table, and beside a key or, where there is no room, above it.
    """
    lines = [*_above(notes.get((), "")), *_keys(recipe, (), notes)]
    for name, table in recipe.items():
        if name == "stage":
            for index, stage in enumerate(table):
                lines += _headed("[[stage]]", stage, ("stage", index), notes)
                for number, gate in enumerate(stage.get("gate", ())):
                    lines += _headed("[[stage.gate]]", gate, ("stage", index, "gate", number), notes, INDENT)
        elif name == "data":
            for split, data in table.items():
                lines += _headed(f"[data.{_key(split)}]", data, ("data", split), notes)
        elif isinstance(table, Mapping):
            lines += _headed(f"[{_key(name)}]", table, (name,), notes)
    return "\n".join(lines) + "\n"


def _headed(
    head: str, table: Mapping[str, Any], path: KeyPath, notes: Mapping[KeyPath, str], indent: str = ""
) -> list[str]:
    return ["", *_above(notes.get(path, ""), indent), indent + head, *_keys(table, path, notes, indent)]


def _above(note: str, indent: str = "") -> list[str]:
    width = WIDTH - len(indent) - 2
    return [f"{indent}# {line}" for text in note.splitlines() for line in textwrap.wrap(text, width)]


def _keys(table: Mapping[str, Any], path: KeyPath, notes: Mapping[KeyPath, str], indent: str = "") -> Iterator[str]:
    """A line for each key; what stands under a head of its own is left out."""
    for key, value in table.items():
        headed = (
            isinstance(value, Mapping) or key == "stage"
            if path == ()
            else key == "gate" and path == ("stage", path[-1])
        )
        if headed:
            continue
        line = f"{indent}{_key(key)} = {_value(value)}"
        note = " ".join(notes.get((*path, key), "").split())  # a docstring has line breaks, which would end the comment
        if note and max(len(line) + 1, COLUMN) + 2 + len(note) > WIDTH:
            yield from _above(note, indent)
            note = ""
        yield f"{line:<{COLUMN - 1}} # {note}" if note else line


def _value(value: Any) -> str:
    """A value in one line, an array of tables in a line a table."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        if value and all(isinstance(item, Mapping) for item in value):
            return "\n".join(["[", *(f"    {_value(item)}," for item in value), "]"])
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool | int):
        return json.dumps(value)
    return str(value)  # a float, with inf and nan as TOML has them, or a date


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "_").isidentifier()
    return key if bare else _text(key)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, which wants one for U+007F too
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

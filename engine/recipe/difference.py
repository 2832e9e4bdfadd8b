"""What differs between two recipes, or between documents made of them, key by key and in the words of `--set`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from engine.errors import Problem
from engine.recipe.schema import Recipe, Train

SHOWN = 3
"""Changes that are named; further ones are counted."""
WIDTH = 40
"""Characters of a value that is shown."""

Keys = tuple[str, ...]


def differences(was: Any, now: Any, path: Keys = ()) -> Iterator[tuple[Keys, Any, Any]]:
    """(path, was, now) of what differs; what a table or an entry of an array holds is named, if both have it."""
    old, new = as_table(was), as_table(now)
    if old is None or new is None:
        yield path, was, now
        return
    for key in {**new, **old}:
        if old.get(key) != new.get(key):
            yield from differences(old.get(key), new.get(key), (*path, key))


def as_table(value: Any) -> Mapping[str, Any] | None:
    """A table, or an array of tables under the names by which `--set` calls them; None for anything else."""
    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        named: dict[str, Any] = {}
        for number, item in enumerate(value):
            name = str(item.get("check") or item.get("name") or number)
            named[name if name not in named else f"{name}.{number}"] = item
        return named
    return value if isinstance(value, Mapping) else None


def said(path: Keys, was: Any, now: Any) -> str:
    """One difference in words: stage.C.steps was 12, is 3."""
    return f"{'.'.join(path)} was {_shown(was)}, is {_shown(now)}"


def changed(was: Recipe, now: Recipe) -> list[Problem]:
    """What of a recipe trains otherwise than it did, each key where it stands now: the first, and how many more.

    A key of [train] that stages inherit is told once. Empty where nothing changed.
    """
    before, after = was.training(), now.training()
    if before == after:
        return []
    differ = list(differences(before, after))
    inherited = [(path[1:], old, new) for path, old, new in differ if path[0] == "train"]
    own = [each for each in differ if each[0][0] != "stage" or (each[0][2:], *each[1:]) not in inherited]
    more = len(own) - SHOWN
    return [
        *(Problem(_place(now, after, path), said(path, old, new)) for path, old, new in own[:SHOWN]),
        *([Problem("", f"and {more} more")] if more > 0 else []),
        *([] if own else [Problem("", "the order of its stages, losses, metrics or gates changed")]),
    ]


def _place(recipe: Recipe, data: Any, path: Keys) -> str:
    """Where a recipe, whose data `data` are, has the key at `path`, or the nearest table around it."""
    found: list[str | int] = []
    for part in path:
        table = as_table(data) or {}
        if part not in table:
            break
        found.append(list(table).index(part) if isinstance(data, list) else part)
        data = table[part]
    if found[:1] == ["stage"] and len(path) > 2 and path[2] in Train.model_fields:
        found.insert(2, "train")
    return recipe.where(*found)


def _shown(value: Any) -> str:
    text = "not set" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."

"""Values that remember where they were written, and how one recipe is laid over another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """Something that sets values. name: how messages call it. base: the folder its relative paths start from.

    text: the TOML text, where there is one to point into; is_override: it came from `--set`.
    """

    name: str
    base: Path
    text: str | None = None
    is_override: bool = False

    @property
    def is_resolved(self) -> bool:
        """True for the JSON that a run keeps: files it names were checked when the run began."""
        return self.text is None and not self.is_override

    def where(self, path: KeyPath) -> str:
        """The place of a key path of this source, or of the nearest table around it."""
        if self.is_override:
            return self.name
        if self.text is None:
            return f"{self.name} ({spelled(path)})" if path else self.name
        from engine.recipe.positions import positions  # the parser is loaded only when a message needs it

        found = positions(self.text)
        while path not in found:
            path = path[:-1]
        line, column = found[path]
        return f"{self.name}:{line}:{column}"


@dataclass
class Node:
    """A value of the recipe with its origin; tables hold nodes by key and arrays hold nodes in order."""

    value: Any
    source: Source
    path: KeyPath

    @property
    def is_given(self) -> bool:
        """False for the null that a resolved recipe writes where nothing was said."""
        return self.value is not None

    @property
    def here(self) -> str:
        """Where this value was written."""
        return self.source.where(self.path)

    def plain(self) -> Any:
        """The value without origins."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, part: str | int) -> Node | None:
        """The node at one key or index, or None."""
        if isinstance(self.value, dict):
            return self.value.get(part)
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            found: Node = self.value[part]
            return found
        return None

    def text(self, key: str) -> str:
        """The text at one key of a table; empty when there is none, or something else."""
        found = self.child(key)
        return found.value if found is not None and isinstance(found.value, str) else ""

    def follow(self, path: Sequence[str | int]) -> tuple[Node, KeyPath]:
        """The deepest node on `path`, and the parts of the path that led to it; parts that do not exist are passed."""
        node, taken = self, []
        for part in path:
            found = node.child(part)
            if found is not None:
                node = found
                taken.append(part)
        return node, tuple(taken)

    def where(self, path: Sequence[str | int]) -> str:
        """Where the value at `path` was written, or the deepest table around it."""
        node = self
        for part in path:
            found = node.child(part)
            if found is None:
                break
            node = found
        return node.here


def texts(node: Node) -> Iterator[tuple[str, Node]]:
    """Every text under a node, keys too, with the node to point at."""
    if isinstance(node.value, str):
        yield node.value, node
    elif isinstance(node.value, dict):
        for key, child in node.value.items():
            yield key, child
            yield from texts(child)
    elif isinstance(node.value, list):
        for child in node.value:
            yield from texts(child)


def labels(array: Node) -> list[tuple[str, int]]:
    """(label, index) of the tables in an array node by what calls them: `name`, a gate's `check`, or `plugin`."""
    items = enumerate(array.value) if isinstance(array.value, list) else ()
    keys = ("name", "check", "plugin")
    return [(label, index) for index, item in items if (label := next(filter(None, map(item.text, keys)), ""))]


def build(value: Any, source: Source, path: KeyPath = ()) -> Node:
    """Plain data as nodes that come from `source`."""
    if isinstance(value, dict):
        return Node({key: build(item, source, (*path, key)) for key, item in value.items()}, source, path)
    if isinstance(value, list):
        return Node([build(item, source, (*path, index)) for index, item in enumerate(value)], source, path)
    return Node(value, source, path)


def merge(under: Node, over: Node, is_root: bool = False) -> Node:
    """`over` laid on `under`: tables key by key, stages by name; another plugin's table and the rest are replaced."""
    if not (isinstance(under.value, dict) and isinstance(over.value, dict)):
        return over
    # Another plugin has other options: those written for the one it replaces would all be unknown keys.
    if over.text("plugin") and over.text("plugin") != under.text("plugin"):
        return over
    merged = dict(under.value)
    for key, node in over.value.items():
        if key not in merged:
            merged[key] = node
        elif is_root and key == "stage":
            merged[key] = _merge_stages(merged[key], node)
        else:
            merged[key] = merge(merged[key], node)
    # A table is where the file nearest to the user wrote it; an override has no place to show a table at.
    origin = under if over.source.is_override else over
    return Node(merged, origin.source, origin.path)


def _merge_stages(under: Node, over: Node) -> Node:
    if not (isinstance(under.value, list) and isinstance(over.value, list)):
        return over
    stages = list(under.value)
    waiting = {name: index for index, node in enumerate(stages) if (name := node.text("name"))}
    for node in over.value:
        # pop: a name that is written twice in one file is not merged twice, it stays a duplicate to be reported
        index = waiting.pop(node.text("name"), None)
        if index is None:
            stages.append(node)
        else:
            stages[index] = merge(stages[index], node)
    return Node(stages, over.source, over.path)


def spelled(path: Sequence[str | int]) -> str:
    """A key path as people write it: stage[1].optimizer.lr."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")

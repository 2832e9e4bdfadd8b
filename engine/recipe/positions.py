"""Where each key of a TOML text stands, by its key path."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import tomli

if TYPE_CHECKING:
    from tree_sitter import Node as Syntax

    from engine.recipe.nodes import KeyPath

Position = tuple[int, int]


@lru_cache(maxsize=8)  # one message needs one text; a recipe with many mistakes needs the same few again and again
def positions(text: str) -> dict[KeyPath, Position]:
    """Key path -> (line, column), both from 1, columns in characters.

    A key stands where its own part of the (dotted) key begins, a table where its header begins, an element of an array
    where the element begins. The empty path, the whole document, is (1, 1).
    """
    import tree_sitter_toml
    from tree_sitter import Language, Parser

    tree = Parser(Language(tree_sitter_toml.language())).parse(text.encode())
    return _Reader(text).read(tree.root_node)


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = [line.encode() for line in text.split("\n")]
        self.found: dict[KeyPath, Position] = {(): (1, 1)}
        self.lengths: dict[KeyPath, int] = {}  # arrays of tables -> tables seen so far

    def read(self, root: Syntax) -> dict[KeyPath, Position]:
        for node in root.children:
            if node.type == "pair":
                self.pair(node, ())
            elif node.type in ("table", "table_array_element"):
                self.table(node)
        return self.found

    def table(self, node: Syntax) -> None:
        names = [part for child in node.children if "key" in child.type for part, _ in self.key(child)]
        at = self.position(node)
        path: KeyPath = ()
        for name in names[:-1]:
            path = self.latest((*path, name))
            self.found.setdefault(path, at)
        path = (*path, *names[-1:])
        if node.type == "table_array_element":
            self.found.setdefault(path, at)
            self.lengths[path] = self.lengths.get(path, 0) + 1
            path = self.latest(path)
        self.found[path] = at
        for child in node.children:
            if child.type == "pair":
                self.pair(child, path)

    def latest(self, path: KeyPath) -> KeyPath:
        """A header that passes through an array of tables means the table that was opened last."""
        return (*path, self.lengths[path] - 1) if path in self.lengths else path

    def pair(self, node: Syntax, prefix: KeyPath) -> None:
        path = prefix
        for name, at in self.key(node.children[0]):
            path = (*path, name)
            self.found.setdefault(path, at)
        self.value(node.children[-1], path)

    def value(self, node: Syntax, path: KeyPath) -> None:
        if node.type == "inline_table":
            for child in node.children:
                if child.type == "pair":
                    self.pair(child, path)
        elif node.type == "array":
            items = [child for child in node.named_children if child.type != "comment"]
            for index, item in enumerate(items):
                self.found[(*path, index)] = self.position(item)
                self.value(item, (*path, index))

    def key(self, node: Syntax) -> Iterator[tuple[str, Position]]:
        """The parts of a key and where each begins."""
        if node.type == "dotted_key":
            for child in node.children:
                if child.type != ".":
                    yield from self.key(child)
        elif node.text is not None and node.type in ("bare_key", "quoted_key"):
            # tomli undoes the quotes and escapes, so that the name is spelled as in the loaded data
            yield next(iter(tomli.loads(f"{node.text.decode()} = 0"))), self.position(node)

    def position(self, node: Syntax) -> Position:
        row, column = node.start_point  # bytes
        return row + 1, len(self.lines[row][:column].decode()) + 1

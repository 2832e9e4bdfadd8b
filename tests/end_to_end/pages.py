"""What the pages of the documentation tell people to type, and the files that they show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("sh", "console", "")
"""Languages of blocks with commands, one a line; what is `bash` is a script."""


@dataclass(frozen=True)
class Block:
    """A block of code of a page: its language, '' where the page names none, and its text."""

    page: str
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Its commands, each without its comment and on one line."""
        whole = re.sub(r"\\\n\s*", "", self.text)
        return [line for each in whole.splitlines() if (line := re.sub(r"(^|\s+)#.*", "", each).strip())]


def blocks(page: Path) -> Iterator[Block]:
    """Every block of a page, in its order."""
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        yield Block(page.relative_to(ROOT).as_posix(), language, text)


def commands(document: str) -> list[list[str]]:
    """The words behind `engine` of every command of a page that begins with it."""
    lines = [line for block in blocks(ROOT / document) if block.language in SHELL for line in block.lines]
    return [shlex.split(line)[1:] for line in lines if line.startswith("engine ")]

"""Paths with stars: what each star stands for in one name, put into another."""

from __future__ import annotations

import glob
import re
from pathlib import Path

_STAR = re.compile(r"\*\*/|\*")


def has_star(pattern: str) -> bool:
    """Whether `pattern` stands for several paths. `*` is any part of a name, `**/` any folders between."""
    return "*" in pattern


def star_count(pattern: str) -> int:
    """How many parts the stars of `pattern` stand for."""
    return len(_STAR.findall(pattern))


def found(pattern: str, root: Path) -> dict[tuple[str, ...], str]:
    """The files under `root` that fit, in the order of their names: what the stars stand for -> path."""
    fixed = _STAR.split(pattern)
    stars = [*_STAR.findall(pattern), ""]
    shape = "".join(
        re.escape(part) + {"**/": "((?:.*/)?)", "*": "([^/]*)", "": ""}[star]
        for part, star in zip(fixed, stars, strict=True)
    )
    asked = "".join(glob.escape(part) + star for part, star in zip(fixed, stars, strict=True))
    every = glob.glob(asked, root_dir=root, recursive=True)  # noqa: PTH207 -- Path.glob refuses an absolute one
    paths = (path for path in sorted(every) if (root / path).is_file())
    fits = ((re.fullmatch(shape, path), path) for path in paths)
    return {match.groups(): path for match, path in fits if match}


def filled(pattern: str, parts: tuple[str, ...]) -> str:
    """`pattern` with its stars replaced, from the left, by what they stand for; with a star too many it is left."""
    left = iter(parts)
    return _STAR.sub(lambda star: next(left, star[0]), pattern)

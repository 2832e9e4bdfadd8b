"""Which parameters learn at which rate: the groups of `optimizer.groups`, told from names alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.errors import Problem, nearest
from engine.globs import Selection, holds
from engine.recipe.schema import Optimizer


def check_groups(
    names: Sequence[str], selection: Selection, settings: Optimizer, where: Callable[..., str], stage: str = ""
) -> list[Problem]:
    """What is wrong with the groups: every pattern that gives its rate to no trainable parameter.

    names: all parameters of the system. where: called as where(number of the group, "match") for the place of a
    pattern. stage: its name, for the message.
    """
    trainable = [name for name in names if name in selection.parameters]
    problems = []
    for number, (group, share) in enumerate(zip(settings.groups, shares_of(trainable, settings), strict=False)):
        if share:
            continue
        of = f"stage {stage}" if stage else "this stage"
        what = f"optimizer group '{group.match}' matches no trainable parameter of {of}"
        near: list[str] = []
        if any(holds(group.match, name) for name in trainable):
            what = f"optimizer group '{group.match}' has no effect: groups before it match all of its parameters"
        elif not any(holds(group.match, name) for name in names):
            near = _near(group.match, trainable)
        problems.append(Problem(where(number, "match"), what, near=near))
    return problems


def shares_of(names: Sequence[str], settings: Optimizer) -> list[list[str]]:
    """The parameters of each group, those of the first pattern that matches, and of no group."""
    patterns = [*(group.match for group in settings.groups), "**"]
    shares: list[list[str]] = [[] for _ in patterns]
    for name in names:
        shares[next(i for i, pattern in enumerate(patterns) if holds(pattern, name))].append(name)
    return shares


def _near(pattern: str, names: Sequence[str]) -> list[str]:
    """The modules and parameters most like a pattern, with the stars at its end."""
    stem = pattern.rstrip("*.")
    levels = [name.split(".") for name in names]
    known = {".".join(each[:depth]) for each in levels for depth in range(1, len(each) + 1)}
    return [name + pattern[len(stem) :] for name in nearest(stem, sorted(known))]

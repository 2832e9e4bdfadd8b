"""Globs over the system's module names: which parameters and buffers a stage trains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from engine.errors import InputError, Problem, nearest


def matches(pattern: str, name: str) -> bool:
    """Whether a dotted name fits a pattern: `*` stays within one level, `**` stands for any number of levels.

    A level that does not fit is given to the last `**` before it, as in any matching of stars, so the time is at most
    (levels of the name) x (levels of the pattern) whatever the pattern.
    """
    wanted, levels = pattern.split("."), name.split(".")
    at = level = 0
    stars, given = -1, 0  # the last `**`, and the levels up to which it stands
    while level < len(levels):
        if at < len(wanted) and wanted[at] == "**":
            if at + 1 == len(wanted):
                return True
            stars, given = at, level
            at += 1
        elif at < len(wanted) and (wanted[at] == levels[level] or fnmatchcase(levels[level], wanted[at])):
            at, level = at + 1, level + 1
        elif stars >= 0:
            given += 1
            at, level = stars + 1, given
        else:
            return False
    return all(each == "**" for each in wanted[at:])


class Named(Protocol):
    """What patterns are held against: a module, or what is known of one that is not built (`engine.stages.outline`)."""

    def named_modules(self) -> Iterable[tuple[str, Any]]:
        """Every module with its name."""
        ...

    def named_parameters(self) -> Iterable[tuple[str, Any]]:
        """Every parameter with its name."""
        ...

    def named_buffers(self) -> Iterable[tuple[str, Any]]:
        """Every buffer with its name."""
        ...


@dataclass(frozen=True)
class Selection:
    """What a stage trains. Names are full, as in `named_parameters`; `modules` are those in training mode."""

    parameters: frozenset[str]
    frozen_parameters: frozenset[str]
    frozen_buffers: frozenset[str]
    modules: frozenset[str]


def select(
    system: Named,
    trainable: Sequence[str],
    frozen: Sequence[str],
    *,
    absent: str | None = None,
    where: Sequence[str] | None = None,
) -> Selection:
    """Apply `trainable` and `frozen` patterns to the system; `frozen` wins, and what neither names is frozen.

    A pattern selects a tensor when it matches the tensor's own name or the module that holds it. `absent` is a child
    that takes no part in the stage (the injection, when it is off); its tensors are frozen whatever the patterns say.
    `where` locates each pattern (trainable first) for messages. Raises InputError with every pattern that selects
    nothing, but for frozen ones that name a module in which there is nothing to freeze.
    """
    modules = [name for name, _ in system.named_modules() if name]
    parameters = [name for name, _ in system.named_parameters()]
    buffers = [name for name, _ in system.named_buffers()]

    def present(names: Iterable[str]) -> Iterator[str]:
        return (name for name in names if absent is None or not (name + ".").startswith(absent + "."))

    tensors = list(present([*parameters, *buffers]))
    held = {pattern: _held(pattern, present(modules), tensors) for pattern in [*trainable, *frozen]}
    problems = []
    for number, pattern in enumerate([*trainable, *frozen]):
        selects = not held[pattern].isdisjoint(tensors)
        if not selects and not (number >= len(trainable) and _names_nothing(pattern, modules, tensors)):
            place = where[number] if where else ""
            problems.append(_no_match(pattern, place, list(present(modules)), modules, tensors, absent))
    if problems:
        raise InputError(problems)

    trains = frozenset[str]().union(*(held[pattern] for pattern in trainable))
    trains = trains.difference(*(held[pattern] for pattern in frozen))
    return Selection(
        parameters=trains.intersection(parameters),
        frozen_parameters=frozenset(parameters) - trains,
        frozen_buffers=frozenset(buffers) - trains,
        modules=trains.intersection(modules),
    )


def holds(pattern: str, tensor: str) -> bool:
    """Whether a pattern selects a tensor: by the tensor's own name or by that of the module that holds it."""
    owner = tensor.rpartition(".")[0]
    return matches(pattern, tensor) or matches(pattern, owner)


def _held(pattern: str, modules: Iterable[str], tensors: Iterable[str]) -> set[str]:
    """The modules that a pattern matches, with the tensors that it selects: it is held against each name once."""
    named = {name for name in modules if matches(pattern, name)}
    return named | {name for name in tensors if name.rpartition(".")[0] in named or matches(pattern, name)}


def _names_nothing(pattern: str, modules: list[str], tensors: list[str]) -> bool:
    """Whether the modules that a pattern names hold no tensors at any depth, as a base without parameters does."""
    named = [f"{module}." for module in modules if matches(pattern, module)]
    return bool(named) and not any(tensor.startswith(tuple(named)) for tensor in tensors)


def _no_match(
    pattern: str, where: str, present: list[str], modules: list[str], tensors: list[str], absent: str | None
) -> Problem:
    if _names_nothing(pattern, present, tensors):
        what = f"pattern '{pattern}' names modules without parameters, in which nothing can train"
        others = dict.fromkeys(name.partition(".")[0] for name in tensors)
        return Problem(where, what, f"a pattern for {' or '.join(others)}" if others else "")
    if absent and any(matches(pattern, name) for name in modules if name not in present):
        return Problem(where, f"pattern '{pattern}' selects only {absent}, which is off in this stage")
    if any(matches(pattern, name) for name in present):
        return Problem(
            where,
            f"pattern '{pattern}' names a module that holds no tensors itself",
            "a pattern that crosses levels",
            [f"{pattern}.**"],
        )
    stem = ".".join(level for level in pattern.split(".") if "*" not in level)
    tail = pattern[len(stem) :] if pattern.startswith(stem) else ""
    near = [name + tail for name in nearest(stem or pattern, present)]
    return Problem(where, f"pattern '{pattern}' matches no module", "a glob over module names, see `engine plan`", near)

"""AdamW over the trainable parameters, with learning rates by glob."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from engine.errors import InputError, Problem, nearest
from engine.globs import Selection, matches
from engine.recipe.schema import Optimizer


def build_optimizer(system: nn.Module, selection: Selection, settings: Optimizer) -> torch.optim.Optimizer:
    """AdamW with one group a learning rate; the first matching pattern decides, the rest use `lr`.

    Frozen tensors are not in it. The fused kernel is used: it exists for CPU and GPU, and it can be told by a flag
    on the device to leave the weights alone, which is what the guard needs. Raises InputError for a pattern that
    matches no trainable parameter.
    """
    parameters = dict(system.named_parameters())
    problems = check_groups(list(parameters), selection, settings, lambda *_: "")
    if problems:
        raise InputError(problems)
    rates = [*(group.lr for group in settings.groups), settings.lr]
    shares = _shares([name for name in parameters if name in selection.parameters], settings)
    return torch.optim.AdamW(
        [
            {"params": [parameters[name] for name in share], "lr": rate, "peak_lr": rate}
            for share, rate in zip(shares, rates, strict=True)
            if share
        ],
        lr=settings.lr,
        betas=(settings.betas[0], settings.betas[1]),
        weight_decay=settings.weight_decay,
        fused=True,
    )


def check_groups(
    names: Sequence[str], selection: Selection, settings: Optimizer, where: Callable[..., str], stage: str = ""
) -> list[Problem]:
    """What is wrong with the groups: every pattern that gives its rate to no trainable parameter.

    names: all parameters of the system. where: called as where(number of the group, "match") for the place of a
    pattern. stage: its name, for the message.
    """
    trainable = [name for name in names if name in selection.parameters]
    problems = []
    for number, (group, share) in enumerate(zip(settings.groups, _shares(trainable, settings), strict=False)):
        if share:
            continue
        of = f"stage {stage}" if stage else "this stage"
        what = f"optimizer group '{group.match}' matches no trainable parameter of {of}"
        near: list[str] = []
        if any(_holds(group.match, name) for name in trainable):
            what = f"optimizer group '{group.match}' has no effect: groups before it match all of its parameters"
        elif not any(_holds(group.match, name) for name in names):
            near = _near(group.match, trainable)
        problems.append(Problem(where(number, "match"), what, near=near))
    return problems


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's learning rate becomes its peak times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def _shares(names: Sequence[str], settings: Optimizer) -> list[list[str]]:
    """The parameters of each group, those of the first pattern that matches, and of no group."""
    patterns = [*(group.match for group in settings.groups), "**"]
    shares: list[list[str]] = [[] for _ in patterns]
    for name in names:
        shares[next(i for i, pattern in enumerate(patterns) if _holds(pattern, name))].append(name)
    return shares


def _holds(pattern: str, parameter: str) -> bool:
    return matches(pattern, parameter) or matches(pattern, parameter.rpartition(".")[0])


def _near(pattern: str, names: Sequence[str]) -> list[str]:
    """The modules and parameters most like a pattern, with the stars at its end."""
    stem = pattern.rstrip("*.")
    levels = [name.split(".") for name in names]
    known = {".".join(each[:depth]) for each in levels for depth in range(1, len(each) + 1)}
    return [name + pattern[len(stem) :] for name in nearest(stem, sorted(known))]

"""Every stage's patterns held against the names of the system's modules and tensors; no tensor is needed for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from engine.errors import InputError, Problem
from engine.globs import Named, Selection, select
from engine.recipe.schema import Recipe, Stage
from engine.training.rates import check_groups


def check_patterns(recipe: Recipe, system: Named) -> list[Selection]:
    """What each stage trains; InputError with every pattern that matches nothing and every cache that cannot be."""
    names = [name for name, _ in system.named_parameters()]
    selections: list[Selection] = []
    problems: list[Problem] = []
    for index, stage in enumerate(recipe.stages):
        try:
            selection = select_stage(recipe, stage, index, system)
        except InputError as error:
            problems += error.problems
            continue
        selections.append(selection)
        place = partial(recipe.where, "stage", index, "train", "optimizer", "groups")
        problems += check_groups(names, selection, stage.train.optimizer, place, stage.name)
        problems += check_cache(recipe, stage, index, system, selection)
    if problems:
        raise InputError(problems, "`engine plan` shows the tree of modules")
    return selections


def select_stage(recipe: Recipe, stage: Stage, index: int, system: Named) -> Selection:
    """Apply a stage's patterns to the system; InputError for patterns that select nothing, with their place."""
    where = [recipe.where("stage", index, "trainable", i) for i in range(len(stage.trainable))]
    where += [recipe.where("stage", index, "frozen", i) for i in range(len(stage.frozen))]
    return select(system, stage.trainable, stage.frozen, absent=None if stage.injection else "injection", where=where)


def check_cache(recipe: Recipe, stage: Stage, index: int, system: Named, selection: Selection) -> Sequence[Problem]:
    """What is wrong with `cache = "on"` or `augment = "after-cache"` in a stage that trains `selection`."""
    key = "cache" if stage.train.cache == "on" else "augment"
    if stage.train.cache != "on" and stage.train.augment == "before-cache":
        return []
    why = not_frozen(stage, system, selection)
    if not why:
        return []
    about = "the frozen base's outputs are to be cached" if key == "cache" else "the frozen base is to see whole frames"
    setting = 'cache = "off"' if key == "cache" else 'augment = "before-cache"'
    expected = f"{setting} there, or the injection on and all of base.** frozen"
    return [Problem(recipe.where("stage", index, "train", key), f"{about} in stage {stage.name}, {why}", expected)]


def not_frozen(stage: Stage, system: Named, selection: Selection) -> str:
    """Why the base's answers in a stage cannot be kept; empty where they can."""
    # A module in training mode answers differently too, even where it learns nothing.
    buffers = {name for name, _ in system.named_buffers()} - selection.frozen_buffers
    trains = [*sorted(selection.parameters), *sorted(selection.modules | buffers)]
    base = [name for name in trains if (name + ".").startswith("base.")]
    if base and not any(name.startswith("base.") for name in selection.parameters | buffers):
        return f"which leaves {base[0]} in training mode, though it has nothing to train"
    return f"which trains {base[0]}" if base else "" if stage.injection else "which runs without the injection"

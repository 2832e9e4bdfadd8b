"""What a recipe names that is not there: that belongs to the world, which may bring it before the run.

`engine check` and `engine plan` tell it and refuse nothing. A recipe is checked before the labels that it reads are
made, or on another machine than it runs on, and a data set may render what it reads into a folder of its own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from engine.errors import Problem, nearest
from engine.recipe.schema import Recipe


def missing(recipe: Recipe) -> list[Problem]:
    """The weights, and the files and folders of data sets, that are not there, each where the recipe names it."""
    return missing_weights(recipe) + [
        _missing(node.here, Path(node.value), "file or folder") for node in recipe.data_paths if not _there(node.value)
    ]


def missing_weights(recipe: Recipe) -> list[Problem]:
    """The weights files that `[model] weights` and the `init` of stages name and that are not there."""
    named = [(recipe.where("model", "weights"), recipe.pretrained)]
    named += [
        (recipe.where("stage", index, "init"), Path(stage.init))
        for index, stage in enumerate(recipe.stages)
        if stage.init and stage.init_is_file
    ]
    return [_missing(where, path, "weights file") for where, path in named if path is not None and not path.is_file()]


def _missing(where: str, path: Path, what: str) -> Problem:
    """With the names like it in the folder that should hold it, or like the first folder on the way that is missing."""
    gone = path
    while not _there(gone.parent):
        gone = gone.parent
    beside: list[str] = []
    with suppress(OSError):  # it is no folder, or may not be read
        beside = sorted(each.name for each in gone.parent.iterdir())
    stems = nearest(gone.stem, [Path(name).stem for name in beside])  # the same suffix makes no names alike
    near = [name for name in beside if Path(name).stem in stems][:2]
    if gone != path:
        near = [str(gone.parent / name) for name in near]
    return Problem(where, f"there is no {what} {path}", near=near)


def _there(path: Path | str) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # pathlib raises where a folder may not be looked into

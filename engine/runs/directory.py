"""The run directory `runs/<recipe>/<time>-<short id>/`: a new one, or one to go on with."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engine.errors import InputError, Problem, WorldError, nearest
from engine.files import file_digest, held, read_json

RECIPE = "recipe.json"
PROVENANCE = "provenance.json"
STATUS = "status.json"
LOCK = "lock"


def create(root: Path, name: str) -> Path:
    """A fresh run directory; WorldError when it cannot be made."""
    folder = root / name / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise WorldError(f"the run directory {folder} cannot be made: {error.strerror}") from error
    return folder


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run directory while a run writes to it; WorldError when somebody else does, or a link leads out of it."""
    _refuse_links_out(folder)
    with held(folder / LOCK, f"the run {folder} is still going on"):
        yield


def _refuse_links_out(folder: Path) -> None:
    """A run directory that came from elsewhere must not have this run write into other folders."""
    inside = os.path.realpath(folder)
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in [*folders, *files]):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                raise WorldError(f"{path} is a link that leads out of the run directory, and a run writes nowhere else")


def check_recipe(folder: Path) -> None:
    """Hold a run's recipe to the digest that its provenance noted; WorldError when it is damaged.

    One flipped bit can be another learning rate. Without a readable note there is nothing to hold it to.
    """
    try:
        noted = read_json(folder / PROVENANCE, recipe_digest=str)["recipe_digest"]
    except WorldError:
        return
    if file_digest(folder / RECIPE) != noted:
        raise WorldError(f"{folder / RECIPE} is damaged: it differs from the digest in {PROVENANCE}")


def processes_of(folder: Path) -> int | None:
    """The number of processes that a run was started with; None without a readable note."""
    try:
        number: int = read_json(folder / PROVENANCE, processes=int)["processes"]
    except WorldError:
        return None
    return number


def unfinished(root: Path, name: str) -> Path:
    """The newest run of a recipe that has not ended well; InputError when there is none."""
    for folder in sorted((root / name).glob("*/"), reverse=True):
        if (folder / RECIPE).is_file() and read_status(folder) != "done":
            return folder
    raise InputError(f"no unfinished run of '{name}' under {root / name}", "start one with `engine run RECIPE`")


def runs_under(root: Path) -> list[Path]:
    """The run directories in a folder of runs, the newest first; InputError where there is no such folder."""
    if not root.is_dir():
        raise InputError(f"there is no folder {root}", "--runs names the folder that holds the runs")
    found = [path.parent for path in root.glob(f"*/*/{RECIPE}")]
    return sorted(found, key=lambda run: (run.name, run.parent.name), reverse=True)


def find(root: Path, text: str) -> Path:
    """The run that `text` means: a run directory, or the only run under `root` with that in RECIPE/TIME-ID.

    InputError when there is none or more than one.
    """
    if is_run(Path(text)):
        return Path(text)
    names = {f"{run.parent.name}/{run.name}": run for run in (runs_under(root) if root.is_dir() else ())}
    found = [run for name, run in names.items() if text in name]
    if len(found) == 1:
        return found[0]
    if found:
        few = ", ".join(str(run) for run in found[:4]) + (", ..." if len(found) > 4 else "")
        raise InputError(Problem("", f"{len(found)} runs have {text!r} in their names: {few}"), "give more of the name")
    ids = {run.name.rpartition("-")[2]: run for run in names.values()}
    near = nearest(text, [*names, *ids])
    raise InputError(Problem("", f"there is no run {text!r} under {root}", near=near), "engine runs list")


def is_run(path: Path) -> bool:
    """Whether a path is a run directory."""
    return (path / RECIPE).is_file()


def newest_weights(folder: Path) -> Path | None:
    """The weights that the last finished stage of a run handed on, in the order of its recipe.

    Not by the files' times: a stage whose weights were damaged is finished again, and a copy of a run has new ones.
    """
    stages = read_json(folder / RECIPE, stage=list)["stage"]
    order = {str(stage.get("name")): place for place, stage in enumerate(stages) if isinstance(stage, Mapping)}
    done = []
    for path in folder.glob("stage-*/weights.safetensors"):
        name, _, extension = path.parent.name.removeprefix("stage-").partition("+")
        number = extension.partition("-")[0]
        if name in order:
            done.append((order[name], len(number), number, path))
    return max(done)[-1] if done else None


def read_status(folder: Path) -> str | None:
    """How a run ended: "done", "refused", "diverged", "interrupted", "failed"; None when that is not known."""
    try:
        status: str = read_json(folder / STATUS, status=str)["status"]
    except WorldError:  # missing, or damaged: how it ended is not known
        return None
    return status

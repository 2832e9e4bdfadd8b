"""The weights file that a path means: a file itself, a run, a stage of one, or a checkpoint."""

from __future__ import annotations

from pathlib import Path

from engine.checkpoints.store import check_digest
from engine.errors import InputError, WorldError
from engine.runs.directory import is_run, newest_weights

POINTERS = ("best", "latest")  # files in a folder of checkpoints that hold the name of one of them


def weights_file(path: Path) -> Path:
    """The file that `path` means; WorldError or InputError when it means none.

    A run means the last stage it finished, a stage's folder what that stage handed on, a checkpoint's folder (or
    `checkpoints/best` and `checkpoints/latest`, which name one) what was measured there: the moving average, if kept.
    A file of a run is held to the digest that the run noted of it.
    """
    found = _weights_file(path)
    check_digest(found)
    return found


def _weights_file(path: Path) -> Path:
    if path.is_file():
        if path.name not in POINTERS:
            return path
        return _checkpoint_weights(path.parent / path.read_text(errors="replace").strip())
    if is_run(path):
        found = newest_weights(path)
        if found is None:
            raise InputError(f"no stage of {path} has finished yet, so it has no weights")
        return found
    return _checkpoint_weights(path)


def _checkpoint_weights(folder: Path) -> Path:
    """The moving average in a folder, else the weights."""
    for name in ("average.safetensors", "weights.safetensors"):
        if (folder / name).is_file():
            return folder / name
    raise WorldError(f"no weights file at {folder}")

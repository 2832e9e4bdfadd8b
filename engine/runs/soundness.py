"""Are the weight files of a run sound? Digests, names and shapes against the model, numbers, the average's distance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from engine.checkpoints.record import RECORD
from engine.checkpoints.store import AVERAGE, MANIFEST, STATE, check_digest
from engine.checkpoints.store import WEIGHTS as RAW
from engine.checkpoints.weights import read_weights
from engine.errors import InputError, WorldError
from engine.files import read_json
from engine.stages.runner import CHECKPOINTS, WEIGHTS
from engine.stages.session import Session


@dataclass(frozen=True)
class FileCheck:
    """What was found in a file of weights.

    file: its path within the run. digest: "as noted", "differs", "not noted" where nothing readable holds one, or
    "missing" where the file is. wrong: what is wrong, in words; a sound file has nothing there. values: numbers in its
    tensors. distance: of a moving average from the weights beside it, relative to their size; None for other files.
    about: the texts beside its tensors.
    """

    file: str
    tensors: int
    values: int
    digest: str
    wrong: list[str]
    distance: float | None
    about: Mapping[str, str]


def check_weights(session: Session, run: Path) -> list[FileCheck]:
    """Look at every weights file of a run, checkpoints first, in the order of its stages; InputError without any."""
    expected = {name: tuple(tensor.shape) for name, tensor in session.outline().state_dict().items()}
    checks = [_check(run, path, expected) for stage in session.recipe.stages for path in _files(run, stage.name)]
    if not checks:
        raise InputError(f"{run} holds no weights yet")
    return checks


def _files(run: Path, stage: str) -> Iterator[Path]:
    """The files that hold weights or what training goes on from, also of extensions of a stage, there or missing."""
    for folder in sorted(run.glob(f"stage-{stage}")) + sorted(run.glob(f"stage-{stage}+*")):
        for checkpoint in sorted((folder / CHECKPOINTS).glob("step-*")):
            average = [AVERAGE] if (checkpoint / AVERAGE).is_file() or AVERAGE in _named(checkpoint) else []
            yield from (checkpoint / name for name in (RAW, *average, STATE))
        if (folder / WEIGHTS).is_file() or (folder.name == f"stage-{stage}" and _is_done(folder)):
            yield folder / WEIGHTS


def _named(checkpoint: Path) -> Mapping[str, Any]:
    """The files that a checkpoint's manifest names; none where it cannot be read, which is told with each file."""
    with suppress(WorldError):
        return cast(Mapping[str, Any], read_json(checkpoint / MANIFEST, files=dict)["files"])
    return {}


def _is_done(stage: Path) -> bool:
    """Whether a stage notes that it is done, and so has weights; a damaged note is told where it is read."""
    with suppress(WorldError):
        return bool(read_json(stage / RECORD, status=str)["status"] == "done")
    return False


def _digest(path: Path) -> tuple[str, list[str]]:
    """How a file stands to the digest that is noted of it, and what is wrong with that, in words."""
    if not path.is_file():
        return "missing", ["it is missing"]
    in_checkpoint = path.parent.parent.name == CHECKPOINTS
    note = path.with_name(MANIFEST if in_checkpoint else RECORD)
    if not note.is_file():
        return "not noted", [f"{MANIFEST} is missing, so that no run goes on from it"] if in_checkpoint else []
    try:
        read_json(note, **({"files": dict} if in_checkpoint else {}))
    except WorldError as damage:
        return "not noted", [str(damage)]
    try:
        check_digest(path)
    except WorldError:
        return "differs", ["it differs from its digest"]
    return "as noted", []


def _check(run: Path, path: Path, expected: Mapping[str, tuple[int, ...]]) -> FileCheck:
    name = path.relative_to(run).as_posix()
    digest, wrong = _digest(path)
    if path.name == STATE or digest == "missing":  # the optimiser's: what it holds is seen when a run goes on
        return FileCheck(name, 0, 0, digest, wrong, None, {})
    try:
        tensors, about = read_weights(path)
    except (WorldError, InputError) as damage:
        return FileCheck(name, 0, 0, digest, [*wrong, str(damage)], None, {})
    missing = [each for each in expected if each not in tensors]
    unexpected = [each for each in tensors if each not in expected]
    shapes = [each for each in tensors if each in expected and tuple(tensors[each].shape) != expected[each]]
    wild = [each for each, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    for what, names in (
        ("missing", missing),
        ("unknown to the model", unexpected),
        ("of another shape", shapes),
        ("not finite", wild),
    ):
        if names:
            wrong.append(f"{len(names)} tensors are {what}: {', '.join(names[:3])}" + (", ..." if names[3:] else ""))
    raw = path.with_name(RAW)
    distance = None
    if path.name == AVERAGE and raw.is_file() and not wrong:
        distance = _apart(tensors, read_weights(raw)[0])
    return FileCheck(name, len(tensors), sum(map(Tensor.numel, tensors.values())), digest, wrong, distance, about)


def _apart(average: Mapping[str, Tensor], raw: Mapping[str, Tensor]) -> float:
    """The length of what lies between two sets of weights over the length of the second."""
    floating = [name for name, tensor in raw.items() if tensor.is_floating_point() and name in average]
    between = sum(float((average[name].double() - raw[name].double()).square().sum()) for name in floating)
    whole = sum(float(raw[name].double().square().sum()) for name in floating)
    return math.sqrt(between / whole) if whole else 0.0

"""Are the weight files of a run sound? Digests, names and shapes against the model, numbers, the average's distance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoints.record import RECORD
from engine.checkpoints.store import AVERAGE, MANIFEST, STATE, check_digest
from engine.checkpoints.store import WEIGHTS as RAW
from engine.checkpoints.weights import read_labelled
from engine.errors import InputError, WorldError
from engine.stages.runner import CHECKPOINTS, WEIGHTS
from engine.stages.session import Session


@dataclass(frozen=True)
class FileCheck:
    """What was found in a file of weights.

    file: its path within the run. digest: "as noted", "differs", or "not noted" where nothing holds one. wrong: what is
    wrong, in words; a sound file has nothing there. values: numbers in its tensors. distance: of a moving average from
    the weights beside it, relative to their size; None for other files. about: the texts beside its tensors.
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
    """The files that hold weights or what training goes on from, also of extensions of a stage."""
    for folder in sorted(run.glob(f"stage-{stage}")) + sorted(run.glob(f"stage-{stage}+*")):
        for checkpoint in sorted((folder / CHECKPOINTS).glob("step-*")):
            yield from (checkpoint / name for name in (RAW, AVERAGE, STATE) if (checkpoint / name).is_file())
        if (folder / WEIGHTS).is_file():
            yield folder / WEIGHTS


def _check(run: Path, path: Path, expected: Mapping[str, tuple[int, ...]]) -> FileCheck:
    name, wrong = path.relative_to(run).as_posix(), list[str]()
    noted = (path.parent / MANIFEST).is_file() or (path.parent / RECORD).is_file()
    digest = "as noted" if noted else "not noted"
    try:
        check_digest(path)
    except WorldError:
        digest = "differs"
        wrong.append("it differs from its digest")
    if path.name == STATE:  # the optimiser's: what it holds is seen when a run goes on
        return FileCheck(name, 0, 0, digest, wrong, None, {})
    try:
        tensors, about = read_labelled(path)
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
        distance = _apart(tensors, read_labelled(raw)[0])
    return FileCheck(name, len(tensors), sum(map(Tensor.numel, tensors.values())), digest, wrong, distance, about)


def _apart(average: Mapping[str, Tensor], raw: Mapping[str, Tensor]) -> float:
    """The length of what lies between two sets of weights over the length of the second."""
    floating = [name for name, tensor in raw.items() if tensor.is_floating_point() and name in average]
    between = sum(float((average[name].double() - raw[name].double()).square().sum()) for name in floating)
    whole = sum(float(raw[name].double().square().sum()) for name in floating)
    return math.sqrt(between / whole) if whole else 0.0

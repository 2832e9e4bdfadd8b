"""Are two runs the same, bit for bit? Losses of every step, every evaluation, every tensor handed on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.stages.runner import WEIGHTS

FIGURES = ("loss", "gradient_norm", "learning_rate", "terms", "skipped")
"""What of a step's event is a result; the rest are times."""


@dataclass(frozen=True)
class Difference:
    """A step, evaluation or tensor that is not the same; `size` is the largest absolute difference, where known."""

    kind: Literal["step", "evaluation", "tensor"]
    name: str
    what: str
    size: float | None = None


@dataclass(frozen=True)
class StageComparison:
    """What was compared of a stage and what differs, in the order in which the run made it.

    steps: events compared; those that the second run made twice, after a kill, count twice.
    """

    stage: str
    steps: int
    evaluations: int
    tensors: int
    differences: list[Difference]

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def of(self, kind: str) -> list[Difference]:
        """The differences of one kind."""
        return [each for each in self.differences if each.kind == kind]


def compare(stage: str, one: Path, other: Path) -> StageComparison:
    """Compare a stage of the run directory `one` with the same stage of `other`; both have finished it."""
    steps, other_steps = _steps(one, stage), _steps(other, stage)
    evaluations, other_evaluations = _evaluations(one, stage), _evaluations(other, stage)
    tensors, other_tensors = (load_file(run / f"stage-{stage}" / WEIGHTS) for run in (one, other))
    return StageComparison(
        stage=stage,
        steps=sum(map(len, other_steps.values())),
        evaluations=len(other_evaluations),
        tensors=len(other_tensors),
        differences=[
            *_different_steps(steps, other_steps),
            *_different_evaluations(evaluations, other_evaluations),
            *_different_tensors(tensors, other_tensors),
        ],
    )


def _steps(run: Path, stage: str) -> dict[int, list[dict[str, Any]]]:
    """The events of each step of a stage: more than one where it was made again after a kill."""
    found: dict[int, list[dict[str, Any]]] = {}
    with (run / "events.jsonl").open() as lines:
        for event in map(json.loads, lines):
            if event["event"] == "step" and event["stage"] == stage:
                found.setdefault(event["step"], []).append({name: event[name] for name in FIGURES})
    return found


def _evaluations(run: Path, stage: str) -> dict[str, Any]:
    return {
        path.stem.removeprefix("evaluation-"): json.loads(path.read_text())
        for path in sorted((run / f"stage-{stage}").glob("evaluation-*.json"))
    }


def _different_steps(one: dict[int, list[Any]], other: dict[int, list[Any]]) -> Iterator[Difference]:
    for step in sorted(one.keys() | other.keys()):
        made, made_again = one.get(step, []), other.get(step, [])
        if not made or not made_again:
            yield Difference("step", str(step), f"only one of the runs made step {step}")
            continue
        for figures in made_again:
            if figures != made[0]:
                yield _first_figure("step", str(step), made[0], figures)
                break


def _different_evaluations(one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other:
            yield Difference("evaluation", name, f"only one of the runs made the evaluation {name}")
        elif one[name] != other[name]:
            yield _first_figure("evaluation", name, one[name], other[name])


def _first_figure(kind: Literal["step", "evaluation"], name: str, one: Any, other: Any) -> Difference:
    """The first figure that differs, and the largest difference of all figures."""
    figures, others = dict(_figures(one)), dict(_figures(other))
    unequal = [figure for figure in figures if figures[figure] != others.get(figure)]
    sizes = [
        abs(figures[figure] - others[figure])
        for figure in unequal
        if isinstance(figures[figure], float) and isinstance(others.get(figure), float)
    ]
    first = unequal[0] if unequal else "figures"
    what = f"{first} is {others.get(first)}, and {figures.get(first)} in the untouched run"
    return Difference(kind, name, what, max(sizes, default=None))


def _figures(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text of nested data under its path."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _figures(item, f"{name} {key}".strip())
    else:
        yield name, value


def _different_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> Iterator[Difference]:
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other:
            yield Difference("tensor", name, f"only one of the runs has the tensor {name}")
        elif not _same_bits(one[name], other[name]):
            yield _different_tensor(name, one[name], other[name])


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Equality of the bits: 0.0 is not -0.0, and a NaN is itself."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    bits, other_bits = (each.contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return bool(torch.equal(bits, other_bits))


def _different_tensor(name: str, one: Tensor, other: Tensor) -> Difference:
    kind, other_kind = (f"{each.dtype} {list(each.shape)}" for each in (one, other))
    if kind != other_kind:
        return Difference("tensor", name, f"{name} is {other_kind}, and {kind} in the untouched run")
    apart = (one.double() - other.double()).abs()
    numbers = apart[~apart.isnan()]
    size = float(numbers.max()) if numbers.numel() else None
    return Difference("tensor", name, f"{name} differs" + ("" if size is None else f" by at most {size:g}"), size)

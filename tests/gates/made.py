"""Residuals with known answers, and a context to run a gate in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.contracts import Evaluation
from engine.gates.residuals import Residuals
from engine.prediction import Prediction

SIDE = 32  # 1024 pixels an image: above the minimum of 500
PIXELS = SIDE * SIDE
Law = Callable[[np.random.Generator, int], NDArray[Any]]


def residuals(images: Sequence[NDArray[Any]], scenes: Sequence[str] | None = None) -> Residuals:
    """One image for each array (P,) of residuals; target 0, so the base's answer is minus the residual."""
    gathered = Residuals()
    names = scenes or [f"scene {i}" for i in range(len(images))]
    for signed, name in zip(images, names, strict=True):
        row = np.asarray(signed, dtype=np.float32)[None]
        gathered.add(np.zeros_like(row), -row, np.ones(row.shape, dtype=bool), scene=name)
    return gathered


def drawn(law: Law, count: int = 40, seed: int = 0) -> Residuals:
    rng = np.random.default_rng(seed)
    return residuals([law(rng, PIXELS) for _ in range(count)])


def same(parts: Mapping[float, float], count: int = 40) -> Residuals:
    """Every image holds each value on the given share of 1000 pixels: all figures are known exactly."""
    image = np.concatenate([np.full(round(1000 * share), value) for value, share in parts.items()])
    assert image.size == 1000
    return residuals([image] * count)


class FakeContext:
    """Answers `predictions` with a base that errs by `law`; counts what was asked for."""

    stage = "B"
    seed = 0

    def __init__(
        self,
        directory: Path,
        law: Law,
        count: int = 40,
        injection: Any = None,
        target: str = "depth",
        evaluation: Evaluation | None = None,
        base_confidence: bool = True,
        base: torch.nn.Module | None = None,
    ) -> None:
        self.directory = directory
        self.law, self.count, self.confidence = law, count, base_confidence
        self.system = SimpleNamespace(target=target, injection=injection, base=base or torch.nn.Linear(1, 1))
        self.evaluation = evaluation
        self.asked: list[tuple[str, str]] = []
        self.read = 0

    def evaluate(self, warp: str = "pred", ablation: str = "none") -> Evaluation:
        self.asked.append((warp, ablation))
        assert self.evaluation is not None
        return self.evaluation

    def predictions(self, warp: str = "pred", data: str = "val") -> Iterator[tuple[dict[str, Any], Prediction]]:
        self.asked.append((warp, data))
        rng = np.random.default_rng({"val": 1, "train": 2}[data])
        for first in range(0, self.count, 4):
            size = min(4, self.count - first)
            self.read += size
            shape = (size, 1, SIDE, SIDE)
            target = torch.from_numpy(rng.uniform(4, 17, shape).astype(np.float32))
            signed = torch.from_numpy(self.law(rng, size * PIXELS).reshape(shape).astype(np.float32))
            left = torch.zeros(shape, dtype=torch.bool)
            left[..., : SIDE - 4] = True
            batch = {
                self.system.target: target,
                "valid": torch.ones(shape, dtype=torch.bool),
                "glass": left,
                "weight": torch.ones(shape),
                "scene": [f"scene {(first + i) // 2}" for i in range(size)],
                "id": [str(first + i) for i in range(size)],
            }
            base = Prediction(target - signed, confidence=torch.rand(shape) if self.confidence else None)
            # A correction that must not be measured: the gate is about the base alone.
            yield batch, base.corrected(torch.full(shape, 9.0), torch.zeros(shape))


def injection(bound: float, **more: Any) -> Any:
    return SimpleNamespace(bound=bound, signal=("aux",), zero_init=True, **more)


def laplace(scale: float) -> Law:
    return lambda rng, size: rng.laplace(0, scale, size)


def one_sided(shift: float, spread: float) -> Law:
    """Locks on to something behind: always `shift` short or more."""
    return lambda rng, size: shift + rng.exponential(spread, size)

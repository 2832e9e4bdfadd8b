"""Means between two reports, summed on the device so that no step waits for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine import events


@dataclass
class Meter:
    """Sums since the last report: gradient norm, loss, its terms."""

    names: list[str]
    device: torch.device
    sums: Tensor = field(init=False)
    steps: int = 0
    waited: float = 0.0
    began: float = field(default_factory=time.perf_counter)
    _timed_from: int = 0

    def __post_init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.sums = torch.zeros(len(self.names) + 2, device=self.device)
        self.steps, self._timed_from, self.waited, self.began = 0, 0, 0.0, time.perf_counter()

    def add(self, loss: Tensor, terms: Tensor, share: float) -> None:
        """Add one micro-batch's loss and terms."""
        self.sums[1:].add_(torch.cat([loss.reshape(1), terms]), alpha=share)

    def add_norm(self, norm: Tensor) -> None:
        """Close a step with its gradient norm."""
        self.sums[0] += norm
        self.steps += 1

    def waiting(self) -> Waiting:
        """Counts the time spent in its body as waiting for data."""
        return Waiting(self)

    def state(self) -> dict[str, Any]:
        """The sums of a report that is not complete yet, for a checkpoint."""
        return {"sums": self.sums, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with a report that was begun before an interruption; its times count from here."""
        self.sums.copy_(state["sums"])
        self.steps = self._timed_from = int(state["steps"])
        self.waited, self.began = 0.0, time.perf_counter()

    def reduce(self, several: bool) -> None:
        """Make the sums the mean over processes, which have to call it together."""
        if several:
            torch.distributed.all_reduce(self.sums)
            self.sums /= torch.distributed.get_world_size()

    def report(self, stage: str, steps: int, step: int, skipped: int, rate: float) -> events.Step:
        """The means since the last report, as an event; this is where the device is waited for."""
        norm, loss, *terms = (self.sums / max(self.steps, 1)).tolist()
        seconds = time.perf_counter() - self.began
        event = events.Step(
            stage=stage,
            step=step,
            steps=steps,
            loss=loss,
            terms=dict(zip(self.names, terms, strict=True)),
            gradient_norm=norm,
            learning_rate=rate,
            seconds_per_step=seconds / max(self.steps - self._timed_from, 1),
            data_share=self.waited / seconds,
            skipped=skipped,
        )
        self._reset()
        return event


class Waiting:
    """A stopwatch on a meter."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.meter.waited += time.perf_counter() - self.start

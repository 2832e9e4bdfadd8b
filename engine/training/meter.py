"""Means between two reports, of numbers that no step waits for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from engine import events

Number = float | Tensor
"""A figure of a step: a float where it is there at once, a tensor of no dimension where a device computes it."""


def at_once(device: torch.device) -> bool:
    """Whether a figure is there as soon as it is asked for: on a CPU. No other device is waited for in a step."""
    return device.type == "cpu"


class Meter:
    """Sums since the last report: gradient norm (None where none is measured), loss, its terms; seconds of waiting."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._reset()

    def _reset(self) -> None:
        self.norm: Number | None = None
        self.sums: list[Number] = [0.0] * (len(self.names) + 1)
        self.steps, self._timed_from, self.waited, self.began = 0, 0, 0.0, time.perf_counter()

    def add(self, loss: Number, terms: Sequence[Number], share: float) -> None:
        """Add one micro-batch's loss and terms."""
        self.sums[0] += share * loss
        for place, term in enumerate(terms, 1):
            self.sums[place] += share * term

    def close(self, norm: Number | None) -> None:
        """Close a step with its gradient norm."""
        self.steps += 1
        if norm is not None:
            self.norm = norm if self.norm is None else self.norm + norm

    def leave_out(self, seconds: float) -> None:
        """Do not count time that was spent on measuring or saving as the time of steps."""
        self.began += seconds

    def state(self) -> dict[str, Any]:
        """The sums of a report that is not complete yet, for a checkpoint."""
        norm = None if self.norm is None else float(self.norm)
        return {"norm": norm, "sums": [float(each) for each in self.sums], "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with a report that was begun before an interruption; its times count from here."""
        self.norm, self.sums = state["norm"], [float(each) for each in state["sums"]]
        self.steps = self._timed_from = int(state["steps"])
        self.waited, self.began = 0.0, time.perf_counter()

    def reduce(self, several: bool) -> None:
        """Make the sums the mean over processes, which have to call it together; a device is waited for."""
        if not several:
            return
        figures = self.sums if self.norm is None else [self.norm, *self.sums]
        tensors = [each if isinstance(each, Tensor) else torch.tensor(each, dtype=torch.float64) for each in figures]
        mean = torch.stack(tensors) / torch.distributed.get_world_size()
        torch.distributed.all_reduce(mean)
        if self.norm is not None:
            self.norm, *self.sums = mean.tolist()
        else:
            self.sums = mean.tolist()

    def report(self, stage: str, steps: int, step: int, skipped: int, rate: float) -> events.Step:
        """The means since the last report, as an event; this is where the device is waited for."""
        loss, *terms = [float(each) / max(self.steps, 1) for each in self.sums]
        norm = None if self.norm is None else float(self.norm) / max(self.steps, 1)
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

"""What a plugin's code costs, by plugin and by what it was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Cost:
    """Calls, seconds, and bytes by which the process's memory grew meanwhile; `grown_first` of it in the first call."""

    calls: int = 0
    seconds: float = 0.0
    grown: int = 0
    grown_first: int = 0


@dataclass
class _Running:
    key: tuple[str, str]
    began: float
    held: int
    inner_seconds: float = 0.0
    inner_grown: int = 0


class Account:
    """Costs by (plugin, what it did).

    What is measured inside a measurement counts there alone, so that the costs add up: a gate that asks for predictions
    is not charged with the model. memory: tells the process's memory, bytes. settle: waits for work that goes on by
    itself, such as a device's.
    """

    def __init__(
        self,
        memory: Callable[[], int] = int,
        settle: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.costs: dict[tuple[str, str], Cost] = {}
        self._memory, self._settle, self._clock = memory, settle, clock
        self._running: list[_Running] = []

    @contextmanager
    def measuring(self, plugin: str, what: str) -> Iterator[None]:
        """Charge what happens in the body to `plugin`."""
        self.begin(plugin, what)
        try:
            yield
        finally:
            self.end()

    def begin(self, plugin: str, what: str) -> None:
        """Start to charge `plugin`, until `end`."""
        if self._settle is not None:
            self._settle()
        self._running.append(_Running((plugin, what), self._clock(), self._memory()))

    def end(self) -> None:
        """End what began last."""
        if self._settle is not None:
            self._settle()
        done = self._running.pop()
        seconds, grown = self._clock() - done.began, self._memory() - done.held
        if self._running:
            self._running[-1].inner_seconds += seconds
            self._running[-1].inner_grown += grown
        cost = self.costs.setdefault(done.key, Cost())
        cost.calls += 1
        cost.seconds += seconds - done.inner_seconds
        cost.grown += grown - done.inner_grown
        if cost.calls == 1:
            cost.grown_first = cost.grown

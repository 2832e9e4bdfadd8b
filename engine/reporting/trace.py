"""`engine run --profile`: what torch does in a few steps of every stage, as a trace to look at and a short table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine import events
from engine.files import write_whole
from engine.hookspecs import hookimpl
from engine.prediction import Batch
from engine.recipe.schema import Stage
from engine.stages.session import Batches

if TYPE_CHECKING:
    from torch.profiler import profile

TRACE = "trace.json"
SKIPPED, RECORDED = 3, 3
"""Steps before those that are recorded, which import and allocate, the last with the profiler warm; and those."""
SHOWN = 8
VIEWER = "https://ui.perfetto.dev"


class StepTrace:
    """Records steps of each stage by its batches, which tell when a step begins, and prints its table at its end.

    Nothing but time changes: a step counts the profiler's work as waiting for data. device: its type, "cpu" or "cuda".
    """

    def __init__(self, out: Console, device: str) -> None:
        self._out, self._device = out, device
        self._tables: list[Table | str] = []

    def __call__(self, batches: Batches, stage: Stage, folder: Path) -> Batches:
        """The same batches of `stage`, whose trace goes to `folder`; those drawn again later are not watched."""
        begun = False

        def recorded(first: int, last: int) -> Iterator[Batch]:
            nonlocal begun
            if begun:
                yield from batches(first, last)
                return
            begun, micro = True, stage.train.accumulate
            window = (SKIPPED + RECORDED) * micro
            if last - first <= window:
                self._tables.append(f"stage {escape(stage.name)} has too few steps for a trace")
                yield from batches(first, last)
                return
            profiler = self._profiler(micro, lambda done: self._keep(done, stage.name, folder / TRACE))
            profiler.start()
            try:
                for number, batch in enumerate(made := batches(first, last), 1):
                    yield batch
                    profiler.step()  # the loop asks for the next batch: the step is done
                    if number == window:
                        break
            finally:
                profiler.stop()
            yield from made

        return recorded

    def _profiler(self, micro: int, keep: Callable[[profile], None]) -> profile:
        from torch.profiler import ProfilerActivity, profile, schedule

        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or torch writes two lines of its own to standard error
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._device == "cuda" else [])]
        plan = schedule(skip_first=(SKIPPED - 1) * micro, wait=0, warmup=micro, active=RECORDED * micro, repeat=1)
        return profile(activities=kinds, schedule=plan, on_trace_ready=keep)

    def _keep(self, profiler: profile, stage: str, path: Path) -> None:
        write_whole(path, lambda partial: profiler.export_chrome_trace(str(partial)))
        taken = "self_device_time_total" if self._device == "cuda" else "self_cpu_time_total"
        costs = [(getattr(each, taken), each.count, each.key) for each in profiler.key_averages()]
        costs = sorted((each for each in costs if not each[2].startswith("ProfilerStep")), reverse=True)
        self._tables += [_table(stage, costs), f"  {escape(str(path))}: open it in {VIEWER} or chrome://tracing"]

    def _tell(self) -> None:
        for each in self._tables:
            self._out.print(each, soft_wrap=isinstance(each, str))
        self._tables.clear()

    @hookimpl
    def engine_stage_finished(self, event: events.StageFinished) -> None:
        self._tell()

    @hookimpl
    def engine_run_finished(self, event: events.RunFinished) -> None:
        self._tell()


def _table(stage: str, costs: list[tuple[Any, ...]]) -> Table:
    """The operators that took most, without what they call. costs: (microseconds, calls, name)."""
    total = sum(cost[0] for cost in costs)
    title = f"stage {escape(stage)}: operators of {RECORDED} steps"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("operator", "calls a step", "ms a step", "share"):
        table.add_column(name, justify="left" if name == "operator" else "right")
    for microseconds, calls, name in costs[:SHOWN]:
        each = (f"{calls / RECORDED:.0f}", f"{microseconds / 1e3 / RECORDED:.2f}", f"{microseconds / total:.1%}")
        table.add_row(escape(name), *each)
    rest = total - sum(cost[0] for cost in costs[:SHOWN])
    table.add_row(f"{len(costs[SHOWN:])} others", "", f"{rest / 1e3 / RECORDED:.2f}", f"{rest / total:.1%}")
    return table

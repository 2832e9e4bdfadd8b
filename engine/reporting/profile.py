"""`engine run --profile-plugins`: time and memory that every plugin takes, by what it was asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import get_worker_info

from engine import events
from engine.accounting import Account, Cost
from engine.contracts import Dataset, Sample
from engine.hookspecs import hookimpl
from engine.plugins import HOOK_OF_EVENT, Plugins
from engine.registered import SINGULAR, Registered

PROFILE = "profile.json"
NAME = "profile"
STATM = Path("/proc/self/statm")
WORTH_SHARE, WORTH_MEGABYTES = 0.001, 1.0
"""A row with less than both is left to profile.json: the table is for what stands out."""


def resident_bytes() -> int:
    """The memory of this process that is in use now; 0 where the system has no /proc."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATM.exists() else 0


class PluginProfile:
    """Measures everything that is built of `plugins` from now on, and their hooks; tells of it when the run is over.

    Seconds and memory of a plugin are its own: what it makes another plugin do counts there. On a GPU, `settle` waits
    for the device around every call, which slows the run. workers: whether samples are made in other processes, whose
    time is not seen here except as waiting. write(path, data) writes JSON into the run's directory.
    """

    def __init__(
        self,
        plugins: Plugins,
        out: Console,
        write: Callable[[Path, Any], None],
        workers: bool,
        settle: Callable[[], object] | None,
    ) -> None:
        self._out, self._write, self._workers = out, write, workers
        self._began, self._held = time.perf_counter(), resident_bytes()
        self._waited, self._told, self._step = 0.0, self._began, 0
        self.account = plugins.account = Account(resident_bytes, settle)
        plugins.watch(self._built)
        plugins.register_object(self, NAME)

    def _built(self, thing: Registered, build: Callable[[], Any]) -> Any:
        what = f"{SINGULAR[thing.kind]} {thing.name}"
        with self.account.measuring(thing.plugin, f"{what}, built"):
            made = build()
        if thing.kind in ("models", "injections"):
            return _watched_module(self.account, thing.plugin, f"{what}, forward", made)
        if thing.kind == "datasets":
            return WatchedDataset(self.account, thing.plugin, what, made)
        return _watched_call(self.account, thing.plugin, what, made)

    def rows(self) -> list[dict[str, Any]]:
        """The costs, the most expensive first."""
        costs = sorted(self.account.costs.items(), key=lambda item: -item[1].seconds)
        return [_row(plugin, what, cost, self._seconds()) for (plugin, what), cost in costs]

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain data; what no plugin took is the engine's."""
        rows, grown = self.rows(), (resident_bytes() - self._held) / 1e6
        engine = {
            "seconds": self._seconds() - sum(row["seconds"] for row in rows),
            "megabytes": grown - sum(row["megabytes"] for row in rows),
        }
        return {
            "seconds": self._seconds(),
            "megabytes": grown,
            "seconds_waiting_for_data": self._waited,
            "data_workers": self._workers,
            "engine": {**engine, "share": engine["seconds"] / self._seconds()},
            "plugins": rows,
        }

    def table(self) -> Table:
        """The rows that stand out, and the engine's share."""
        figures = self.to_dict()
        table = Table(title="what plugins took", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("plugin", overflow="fold")
        table.add_column("did", overflow="fold", min_width=max(map(len, HOOK_OF_EVENT.values())))
        for name in ("calls", "seconds", "ms a call", "share", "MB grown", "1st call"):
            table.add_column(name, justify="right", no_wrap=True)
        rows = [row for row in figures["plugins"] if _stands_out(row)]
        for row in rows:
            plugin = Path(row["plugin"]).name  # a plugin file is named by its path
            each = f"{row['milliseconds_a_call']:.2f}"
            table.add_row(
                plugin, row["did"], str(row["calls"]), *_cells(row, each), f"{row['megabytes_first_call']:.1f}"
            )
        table.add_row("engine", "all else: backward, saving, ...", "", *_cells(figures["engine"], ""), "")
        left = len(figures["plugins"]) - len(rows)
        caption = [f"{left} smaller rows are in {PROFILE}"] if left else []
        if self._workers:
            waited = f"the training waited {self._waited:.1f} s for them"
            caption.append(f"samples are made in worker processes, whose time is not here; {waited}")
        caption.append("what a model's forward keeps for backward is given back in the engine's row")
        table.caption, table.caption_justify = "\n".join(caption), "left"
        return table

    def _seconds(self) -> float:
        return time.perf_counter() - self._began

    @hookimpl
    def engine_stage_started(self, event: events.StageStarted) -> None:
        self._told, self._step = time.perf_counter(), 0

    @hookimpl
    def engine_step(self, event: events.Step) -> None:
        now = time.perf_counter()
        # Not more than has passed: a resumed stage begins at a step that nobody told.
        spent = min(event.seconds_per_step * (event.step - self._step), now - self._told)
        self._waited += event.data_share * spent
        self._told, self._step = now, event.step

    @hookimpl(trylast=True)
    def engine_run_finished(self, event: events.RunFinished) -> None:
        self._write(event.directory / PROFILE, self.to_dict())
        self._out.print(self.table())


class WatchedDataset:
    """A data set whose samples and preparation are accounted; in a worker process it is left alone."""

    def __init__(self, account: Account, plugin: str, what: str, dataset: Dataset) -> None:
        self._account, self._plugin, self._what, self._dataset = account, plugin, what, dataset

    def __getattr__(self, name: str) -> Any:
        # What the data set may leave out (`prepare`, `scenes`) must be missing here too.
        found = getattr(self._dataset, name)
        return _watched_call(self._account, self._plugin, f"{self._what}, {name}", found) if callable(found) else found

    def __len__(self) -> int:
        return len(self._dataset)

    def sample(self, index: int, rng: Any) -> Sample:
        """Example `index`."""
        if get_worker_info() is not None:
            return self._dataset.sample(index, rng)
        with self._account.measuring(self._plugin, f"{self._what}, sample"):
            return self._dataset.sample(index, rng)


def _watched_module(account: Account, plugin: str, what: str, module: Any) -> Any:
    """The module itself, whose forward is accounted by hooks: a wrapper would change the names of its tensors."""
    if isinstance(module, nn.Module):
        # Plain functions, which copies of the module (the moving average) share.
        module.register_forward_pre_hook(lambda *_: account.begin(plugin, what))
        module.register_forward_hook(lambda *_: account.end(), always_call=True)
    return module


def _watched_call(account: Account, plugin: str, what: str, called: Any) -> Any:
    def watched(*arguments: Any, **more: Any) -> Any:
        with account.measuring(plugin, what):
            return called(*arguments, **more)

    # Messages call a function by its name, and an object by that of its class.
    watched.__name__ = getattr(called, "__name__", type(called).__name__)
    if hasattr(called, "reads"):  # what a loss declares decides what the frozen-output cache keeps
        vars(watched)["reads"] = called.reads
    return watched


def _row(plugin: str, what: str, cost: Cost, total: float) -> dict[str, Any]:
    return {
        "plugin": plugin,
        "did": what,
        "calls": cost.calls,
        "seconds": cost.seconds,
        "milliseconds_a_call": 1e3 * cost.seconds / cost.calls,
        "share": cost.seconds / total,
        "megabytes": cost.grown / 1e6,
        "megabytes_first_call": cost.grown_first / 1e6,
    }


def _stands_out(row: dict[str, Any]) -> bool:
    return bool(row["share"] >= WORTH_SHARE or abs(row["megabytes"]) >= WORTH_MEGABYTES)


def _cells(row: dict[str, Any], each: str) -> tuple[str, ...]:
    return f"{row['seconds']:.2f}", each, f"{row['share']:.1%}", f"{row['megabytes']:.1f}"

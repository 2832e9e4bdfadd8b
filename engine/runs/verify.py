"""Proof on a recipe of the user's own that an interrupted and resumed run equals an untouched one, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import DivergedError, InputError, InterruptedRunError, PluginError, WorldError
from engine.recipe.schema import DataTable, Recipe
from engine.runs import directory, interruption
from engine.runs.identity import StageComparison, compare

SAMPLES = 4
"""Validation samples that are measured: an evaluation must not disturb the training, which few show as well as many."""


@dataclass(frozen=True)
class Interruption:
    """A signal at a step of a stage."""

    stage: str
    step: int
    signal: signal.Signals

    def __str__(self) -> str:
        how = "killed" if self.signal == signal.SIGKILL else "stopped"
        return f"stage {self.stage} {how} at step {self.step} ({self.signal.name})"

    @property
    def code(self) -> int:
        """The exit code of a process that was interrupted so."""
        return -self.signal if self.signal == signal.SIGKILL else InterruptedRunError.exit_code


@dataclass
class Report:
    """What was done and what came of it.

    repeats: whether two untouched runs agree, asked only when something differs. folder: both runs, kept in that case.
    """

    shortened: str
    interruptions: list[Interruption]
    stages: list[StageComparison] = field(default_factory=list)
    repeats: bool | None = None
    folder: Path | None = None

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return all(stage.identical for stage in self.stages)


def verify_resume(recipe: Recipe, steps: int, tell: Callable[[str], None]) -> Report:
    """Run a shortened recipe untouched and interrupted in every stage, each part in a new process, and compare.

    Every stage is stopped once politely and killed once outright, after a checkpoint, so that steps are made again.
    `tell` receives a sentence a run. Raises InputError for a recipe without stages and what the untouched run raises;
    WorldError when an interrupted run could not be resumed.
    """
    if not recipe.stages:
        raise InputError(f"recipe '{recipe.name}' declares no stages, so there is nothing to interrupt")
    folder = Path(tempfile.mkdtemp(prefix="engine-verify-resume-"))
    keep = False
    try:
        data, shortened = shorten(recipe, steps)
        path = folder / f"{recipe.name}.json"
        path.write_text(json.dumps(data, indent=1))
        report = Report(shortened, interruptions(recipe, steps))
        tell(f"{recipe.name}, {shortened}")
        untouched = _untouched(path, folder / "untouched", tell)
        try:
            resumed = _interrupted(path, folder / "interrupted", report.interruptions, tell)
        except WorldError:
            keep = True
            raise
        report.stages = [compare(stage.name, untouched, resumed) for stage in recipe.stages]
        if not report.identical:
            keep, report.folder = True, folder
            again = _untouched(path, folder / "untouched-again", tell)
            report.repeats = all(compare(stage.name, untouched, again).identical for stage in recipe.stages)
        return report
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def shorten(recipe: Recipe, steps: int) -> tuple[dict[str, Any], str]:
    """The recipe as plain data, short enough to run in passing, and what was shortened, in words."""
    data = recipe.resolved() | {"tracker": []}  # nobody shall be told of these runs
    measured = any(stage["evaluate_every"] for stage in data["stage"])
    for stage in data["stage"]:
        stage |= {"steps": steps, "gate": [], "log_every": 1, "checkpoint_every": _checkpoint(steps)}
        stage["evaluate_every"] = stage["evaluate_every"] and max(1, steps // 3)
    data["data"]["val"] = _first_samples(data["data"]["val"])
    data["plugins"] = [*data["plugins"], interruption.__file__]
    parts = [f"{steps} steps a stage", "no gates", f"the first {SAMPLES} validation samples"]
    parts += [f"a checkpoint every {_checkpoint(steps)} steps"]
    parts += [f"an evaluation every {max(1, steps // 3)} where the recipe evaluates in mid-stage"] if measured else []
    words = f"shortened: {', '.join(parts)}"
    if any(stage["cache"] != "off" for stage in data["stage"]):
        words += "; the outputs of the frozen base that these short runs compute stay in the cache"
    return data, words


def _checkpoint(steps: int) -> int:
    return max(1, steps * 2 // 3)


def _first_samples(table: dict[str, Any]) -> dict[str, Any]:
    """[data.val] through the shortened data set; keys that the engine itself reads stay where they are."""
    own = {name: value for name, value in table.items() if name in DataTable.own_keys() and name != "plugin"}
    whole = {name: value for name, value in table.items() if name not in own}
    return {**own, "plugin": interruption.FIRST_SAMPLES, "of": whole, "count": SAMPLES}


def interruptions(recipe: Recipe, steps: int) -> list[Interruption]:
    """Where the second run is interrupted: half way, and one step after the checkpoint of each stage."""
    places = ((steps // 2, signal.SIGTERM), (_checkpoint(steps) + 1, signal.SIGKILL))
    return [Interruption(stage.name, step, number) for stage in recipe.stages for step, number in places]


def process(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
    """Run `engine ARGUMENTS` in an interpreter of its own; its exit code and its error messages."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stderr


def _untouched(recipe: Path, runs: Path, tell: Callable[[str], None]) -> Path:
    """A run that nobody stops; it fails as it would have failed without us."""
    began = time.perf_counter()
    code, errors = process(["run", str(recipe), "--runs", str(runs), "--fresh"], {})
    if code != 0:
        kinds = {kind.exit_code: kind for kind in (WorldError, InputError, DivergedError)}
        raise kinds.get(code, WorldError)(f"the untouched run ended with exit code {code}:\n{errors.strip()}")
    tell(f"{runs.name}: {time.perf_counter() - began:.0f} s")
    return _only_run(runs)


def _interrupted(recipe: Path, runs: Path, places: Sequence[Interruption], tell: Callable[[str], None]) -> Path:
    """A run that is interrupted at every place and resumed in a new process each time."""
    began = time.perf_counter()
    arguments = ["run", str(recipe), "--runs", str(runs), "--fresh"]
    for place in [*places, None]:
        variables = {interruption.INTERRUPT: f"{place.stage} {place.step} {place.signal.name}"} if place else {}
        code, errors = process(arguments, variables)
        if code != (place.code if place else 0):
            expected = f"{place}, exit code {place.code}" if place else "the end of the run"
            raise WorldError(
                f"the interrupted run ended with exit code {code} where {expected} was due:\n{errors.strip()}\n"
                f"it is kept in {runs.parent}"
            )
        if place:
            tell(f"  {place}, to be resumed")
        arguments = ["run", str(_only_run(runs)), "--resume"]
    tell(f"{runs.name}: {time.perf_counter() - began:.0f} s")
    return _only_run(runs)


def _only_run(runs: Path) -> Path:
    (run,) = (path.parent for path in runs.glob(f"*/*/{directory.RECIPE}"))
    return run


def explain(report: Report) -> PluginError:
    """The first difference of a report in words, with its likely causes."""
    stage = next(stage for stage in report.stages if not stage.identical)
    first = stage.differences[0]
    tensors = stage.of("tensor")
    lines = [f"stage {stage.stage} of the interrupted run differs from the untouched one at {first.kind} {first.name}:"]
    lines[0] += f" {first.what}"
    if tensors:
        most = max(tensors, key=lambda each: each.size or 0.0)
        lines.append(f"  {len(tensors)} of {stage.tensors} tensors of the stage differ; most of all: {most.what}")
    lines += [f"  {line}" for line in (CAUSES_OF_STATE if report.repeats else CAUSES_OF_CHANCE)]
    lines.append(f"  the runs are kept in {report.folder}")
    return PluginError("\n".join(lines))


CAUSES_OF_STATE = (
    "two untouched runs agree, so something remembers what no checkpoint holds. Likely causes:",
    "a data set that counts its calls, draws from a generator of its own or, in data workers, from a global one: draw "
    "from `rng`, which depends on nothing but seed, stage, epoch and sample",
    "a module that keeps state in plain attributes: make it a parameter or a buffer",
)
CAUSES_OF_CHANCE = (
    "two untouched runs differ as well, so the recipe does not repeat at all. Likely causes:",
    "a data set or module that draws from a generator without a seed, such as numpy.random.default_rng(): draw from "
    "`rng`, which depends on nothing but seed, stage, epoch and sample",
    "an operator that is not deterministic on this device, as on a GPU: `deterministic = true` replaces it, or "
    "names it where it cannot",
)

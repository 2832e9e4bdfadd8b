"""What a sweep is: a recipe, the ranges of some of its keys, and what is best."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import engine
from engine.errors import InputError, Problem, nearest
from engine_sweep.space import Swept, override, same, value_at


@dataclass(frozen=True)
class Sweep:
    """A sweep; two with the same words are the same sweep and share a folder, so that one goes on with the other.

    recipe: a file. fixed: `--set` arguments that all trials share. metric: of the last stage, on validation data.
    pruner: "median", "halving" or "none". prune_after: trials that end before another one may be pruned by its figures.
    """

    recipe: Path
    fixed: Sequence[str]
    swept: Sequence[Swept]
    metric: str
    maximize: bool
    pruner: str
    prune_after: int
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """What the runs of its trials are called."""
        return self.folder.name

    @property
    def runs(self) -> Path:
        """Where run directories are; trials take finished stages from all of them."""
        return self.folder.parent

    def recipe_of(self, params: Mapping[str, Any], name: str = "") -> Any:
        """The loaded recipe of a trial."""
        values = [override(key, value) for key, value in params.items()]
        return engine.load_recipe(self.recipe, [*self.fixed, *values, f'name="{name or self.name}"'])

    def check_recipe(self) -> None:
        """InputError where the recipe no longer says what it did when this was begun: every trial reads its file."""
        if not self.name.endswith(f"-sweep-{self.digest(engine.load_recipe(self.recipe, list(self.fixed)))}"):
            raise InputError(
                f"{self.recipe} has changed since the sweep {self.folder} was begun",
                "the same command begins another one",
            )

    def digest(self, recipe: Any) -> str:
        """Tells sweeps apart: by the recipe as it stands, the ranges, what decides, and the seed."""
        words = {
            "recipe": recipe.training(),
            "swept": [vars(each) for each in self.swept],
            "metric": self.metric,
            "maximize": self.maximize,
            "pruner": [self.pruner, self.prune_after],
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()[:6]

    def first_swept(self, recipe: Any) -> int:
        """The index of the first stage that differs between trials; 0 where a key outside of stages does."""
        names = [stage.name for stage in recipe.stages]
        touched = [
            key.split(".")[1].strip("\"'") if key.startswith("stage.") else names[0]
            for key in (s.key for s in self.swept)
        ]
        return min(names.index(name) for name in touched)

    def own(self, recipe: Any) -> dict[str, Any] | None:
        """The recipe's own values as a trial; None where one lies outside of its range."""
        resolved = recipe.resolved()
        values = {each.key: each.own(value_at(resolved, each.key)) for each in self.swept}
        return None if None in values.values() else values


def planned(
    recipe: Path,
    fixed: Sequence[str],
    swept: Sequence[Swept],
    metric: str | None,
    maximize: bool,
    pruner: str,
    prune_after: int,
    seed: int,
    runs: Path,
) -> tuple[Sweep, Any]:
    """The sweep and the recipe as it stands, once that has been planned and every end of every range been loaded.

    Raises InputError for all that is wrong with the recipe, a key, a range or the metric.
    """
    if not swept:
        raise InputError("no key has a range, so there is nothing to search", "--set 'KEY=log(1e-5,1e-3)'")
    own = engine.load_recipe(recipe, list(fixed))
    if not own.stages:
        raise InputError(f"recipe '{own.name}' declares no stages, so there is nothing to train")
    ends = list(_ends(recipe, fixed, swept))
    engine.plan(own, runs=runs)  # what is wrong without the trials' values is told before any of them
    metric = _metric(ends[0], metric)
    if maximize and metric == own.evaluate.best:
        raise InputError(f"the recipe says of {metric!r}, its evaluate.best, that the smallest is best")
    sweep = Sweep(recipe, fixed, swept, metric, maximize, pruner, prune_after, seed, runs)
    return replace(sweep, folder=runs / f"{own.name}-sweep-{sweep.digest(own)}"), own


def _ends(recipe: Path, fixed: Sequence[str], swept: Sequence[Swept]) -> Iterator[Any]:
    """The recipe at the ends of each range, the other keys at their first end; InputError with all that is refused."""
    problems: list[Problem] = []
    first = {each.key: each.ends()[0] for each in swept}
    for each in swept:
        loaded = []
        for value in each.ends():
            values = [override(key, chosen) for key, chosen in (first | {each.key: value}).items()]
            try:
                loaded.append(engine.load_recipe(recipe, [*fixed, *values]))
            except InputError as wrong:
                problems += wrong.problems
        if loaded and len(loaded) == len(each.ends()) and all(same(_work(one), _work(loaded[0])) for one in loaded):
            expected = f"stage.NAME.{each.key.removeprefix('train.')}" if each.key.startswith("train.") else ""
            problems.append(Problem(f"--set {each.key}", "no stage takes its value from here", expected))
        yield from loaded
    if problems:
        raise InputError(list(dict.fromkeys(problems)))


def _work(recipe: Any) -> dict[str, Any]:
    """What a run of a recipe does: every stage has its own copy of [train], which nothing else reads."""
    return {key: value for key, value in recipe.training().items() if key != "train"}


def _metric(recipe: Any, asked: str | None) -> str:
    """The metric that decides: what was asked for, else `evaluate.best`, else the first of `evaluate.key`."""
    evaluate = recipe.evaluate
    known = [
        name
        for metric in evaluate.metrics
        for name in recipe.registry.get("metrics", metric.name).produces(metric.options)
    ]
    name = asked or evaluate.best or next(iter(evaluate.key), None)
    if name is None:
        raise InputError(
            "the recipe names no metric in evaluate.best or evaluate.key", f"--metric {' or '.join(known)}"
        )
    if name not in known:
        raise InputError(Problem("--metric", f"no metric {name!r} is measured", near=nearest(name, known)))
    return name

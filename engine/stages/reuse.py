"""Which stages of a recipe are taken from runs that have finished them, which run, and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoints.record import RECORD
from engine.errors import WorldError
from engine.files import read_json
from engine.recipe.schema import Recipe, Stage
from engine.stages.key import KEY, Document, changes, in_words
from engine.stages.runner import finished
from engine.stages.taking import link_in

UNCHANGED = "nothing that it depends on has changed"

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """A stage that some run has begun, and what it follows from."""

    run: Path
    stage: str
    of: Document

    @property
    def folder(self) -> Path:
        """Where the run keeps it."""
        return self.run / f"stage-{self.stage}"


@dataclass(frozen=True)
class Decision:
    """Whether a stage is taken from `run`, or runs (None), and the reason."""

    stage: str
    run: Path | None
    reason: str


def made_before(root: Path, names: Sequence[str], warn: Warn) -> list[Made]:
    """The stages of those names in the runs under `root`, the newest run first; damaged ones are told of."""
    inside = Path(os.path.realpath(root))
    made = []
    for name in names:
        for path in root.glob(f"*/*/stage-{name}/{KEY}"):
            try:
                if not Path(os.path.realpath(path)).is_relative_to(inside):
                    raise WorldError(f"{path} is behind a link that leads out of {root}")
                made.append(Made(path.parent.parent, name, read_json(path, of=dict)["of"]))
            except WorldError as wrong:
                warn(f"{wrong}; that stage is not reused")
    return sorted(made, key=lambda each: each.run.name, reverse=True)


def decide(
    recipe: Recipe,
    keys: Mapping[str, Document],
    made: Sequence[Made],
    warn: Warn,
    data: Mapping[str, Any] | None = None,
) -> list[Decision]:
    """Decide for every stage in order; `data` is what a finished stage must have seen, None to leave that open.

    A stage of any recipe is taken; what changed is told by the runs of this one.
    """
    decisions: dict[str, Decision] = {}
    for stage in recipe.stages:
        parent = decisions.get(stage.init or "")
        key = keys[stage.name]
        mine = [each for each in made if each.stage == stage.name and (each.of == key or _is_of(recipe, each))]
        decisions[stage.name] = _decide(stage, key, parent, mine, warn, data)
    return list(decisions.values())


def _is_of(recipe: Recipe, made: Made) -> bool:
    return made.run.parent.name == recipe.name


def _decide(
    stage: Stage,
    key: Document,
    parent: Decision | None,
    made: Sequence[Made],
    warn: Warn,
    data: Mapping[str, Any] | None,
) -> Decision:
    same = [each for each in made if each.of == key]
    wrong: list[str] = []
    if parent is not None and parent.run is None:
        wrong = [f"its parent {parent.stage} runs"]
    else:
        for each in same:
            why = _why_not(each, parent, warn, data)
            if not why:
                return Decision(stage.name, each.run, UNCHANGED)
            wrong = wrong or [why]
    if not made:
        wrong = wrong or ["no run has made it yet"]
    elif not same:
        # The least that is different tells most; of several such runs it is the newest.
        changed = min((changes(each.of, key, stage) for each in made), key=len)
        inherited = f"it was trained from another {stage.init}"
        wrong = [*([each for each in changed if each != inherited] if wrong else changed), *wrong]
    return Decision(stage.name, None, in_words(wrong))


def _why_not(made: Made, parent: Decision | None, warn: Warn, data: Mapping[str, Any] | None) -> str:
    """Why a stage with the right key is not taken, in words; empty when it is."""
    if link := link_in(made.folder):
        warn(f"{link} is a link; that stage is not reused")
        return f"{made.run} keeps it behind a link"
    record = finished(made.folder, warn, "that stage is not reused")
    if record is None:
        return f"{made.run} has not finished it"
    try:
        # On a GPU the same training need not give the same bits: what it was trained from must be what is taken.
        if parent is not None and parent.run is not None and _handed_on(made.run, parent) != _handed_on(None, parent):
            return f"{made.run} trained it from other weights of {parent.stage}"
    except WorldError as damage:
        warn(f"{damage}; that stage is not reused")
        return f"{made.run} does not tell what it was trained from"
    return "" if data is None else _other_data(record.get("data"), data)


def _handed_on(run: Path | None, stage: Decision) -> str:
    """The digest of the weights that a stage handed on in `run`, or in the run that it is taken from."""
    place = run or stage.run
    assert place is not None, "asked only of a stage that is taken"
    digest: str = read_json(place / f"stage-{stage.stage}" / RECORD, weights_digest=str)["weights_digest"]
    return digest


def _other_data(noted: Any, data: Mapping[str, Mapping[str, Any]]) -> str:
    for split, now in data.items():
        was = noted.get(split) if isinstance(noted, Mapping) else None
        if was == now:
            continue
        if not isinstance(was, Mapping):
            return f"data.{split} was not noted"
        if was.get("samples") != now["samples"]:
            return f"data.{split} held {was.get('samples')} samples, and holds {now['samples']}"
        return f"the first sample of data.{split} is another"
    return ""

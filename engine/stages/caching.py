"""The frozen-output cache of a stage: what the whole frozen base answers to data.train, computed once for every run."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from engine import events
from engine.code_digest import code_of
from engine.contracts import Dataset
from engine.data import cache_room
from engine.data.cache import Lock, cache_directory, opened
from engine.data.draws import generator
from engine.data.frozen import ADVICE, Filling, FrozenSamples, Shown, WholeFrames, digest, fill
from engine.data.frozen_store import FORMAT, FrozenStore
from engine.data.loader import as_source, to_device
from engine.declared import declared
from engine.errors import InputError, PluginError, Problem, WorldError
from engine.files import read_json
from engine.globs import Selection
from engine.prediction import Batch, Prediction
from engine.recipe.schema import Stage, inner_plugins
from engine.stages import cache_choice, freeze
from engine.stages.key import named_files
from engine.stages.patterns import not_frozen
from engine.stages.session import Session
from engine.system import System
from engine.training.evaluate import evaluating
from engine.training.forward import autocast
from engine.training.losses import WeightedLosses

CHOICE = "cache.json"
"""In a stage's folder: what `cache = "auto"` chose, so that a resumed stage goes on with it."""


def check_samples(session: Session) -> None:
    """InputError where a stage caches random data, or augments what the base has seen with data that cannot.

    The first sample of data.train is asked before the run, since a stage may begin days later.
    """
    for index, stage in enumerate(session.recipe.stages):
        if stage.train.cache == "on" or stage.train.augment == "after-cache":
            target = session.plugins.get("models", session.recipe.model.plugin).extra["target"]
            shown = _shown(session, stage, index, None, target)
            _check_augment(shown, shown.first())


def _check_augment(shown: Shown, sample: dict[str, Any]) -> None:
    if not shown.after:
        return
    try:
        shown.source.augment(sample, 0, generator(0, "check"))
    except InputError as error:
        told = "; ".join(problem.what for problem in error.problems)
        raise InputError(Problem(shown.where, f'augment = "after-cache": {told}'), error.advice) from error


def _shown(session: Session, stage: Stage, index: int, reads: frozenset[str] | None, target: str) -> Shown:
    """What the stage shows the base; InputError for data that cannot be augmented afterwards."""
    source, after = as_source(session.dataset("train")), stage.train.augment == "after-cache"
    where = session.recipe.where("stage", index, "train", "augment" if after else "cache")
    if after and not source.augments:
        what = f"{source} cannot be augmented after the base has seen it: it has no method `augment(sample, rng)`"
        raise InputError(Problem(where, what, 'augment = "before-cache", or a data set that has it'))
    return Shown(source, where, after, reads, target)


def training_samples(
    session: Session,
    stage: Stage,
    index: int,
    system: System,
    selection: Selection,
    losses: WeightedLosses,
    folder: Path,
    stores: Path | None = None,
) -> Dataset:
    """data.train as the stage reads it: with the frozen base's answers, where it caches them or cuts them with frames.

    They are computed here if no run has done so: one process does, and others that want the same wait for it. `folder`
    is the stage's; `stores` is where they are kept, by default the cache. Raises InputError for data that draw random
    numbers and for answers that cannot be kept, WorldError for a full disk or a damaged store, PluginError for a base
    that changes as it answers.
    """
    dataset, train = session.dataset("train"), stage.train
    if train.cache == "off" and train.augment == "before-cache":
        return dataset
    if train.cache == "auto" and (why := not_frozen(stage, system, selection)):
        _tell_choice(session, stage, cache_choice.Choice(False, f"the base cannot be cached in a stage {why}", {}))
        return dataset
    reads, silent = declared(losses.readers | {system.names[1]: system.injection}, system.target)
    cache = _Cache(session, stage, _shown(session, stage, index, reads, system.target), system, folder, stores, silent)
    if train.cache == "on" or (train.cache == "auto" and cache.chosen()):
        try:
            return cache.samples()
        except (InputError, cache_room.NoRoomError) as error:
            if train.cache == "on":
                raise
            cache.keep(cache_choice.Choice(False, _reason(error), {}))
    return WholeFrames(cache.shown, cache.answer) if cache.shown.after else dataset


def _tell_choice(session: Session, stage: Stage, choice: cache_choice.Choice) -> None:
    text = f'stage {stage.name}: cache = "auto" is {"on" if choice.on else "off"}: {choice.why}'
    session.emit(events.Note("info", text, {"stage": stage.name, "cache": choice.on, **choice.figures}))


def _reason(error: InputError | WorldError) -> str:
    """What is wrong, without the place in the recipe, which says auto."""
    return "; ".join(problem.what for problem in error.problems) if isinstance(error, InputError) else str(error)


@dataclass
class _Cache:
    """The store of a stage's frozen base, found by all that the answers depend on.

    silent: the injection or losses that do not declare what they read, so that everything is kept.
    """

    session: Session
    stage: Stage
    shown: Shown
    system: System
    folder: Path
    stores: Path | None
    silent: list[str]

    def answer(self, batch: Batch) -> Prediction:
        """The base's answer in the stage's precision, without gradients."""
        device = self.session.device
        with torch.no_grad(), autocast(device, self.stage.train.precision):
            return self.system(to_device(batch, device), inject=False)  # type: ignore[no-any-return]  # nn.Module

    @cached_property
    def of(self) -> dict[str, Any]:
        """Everything that a store depends on; the folder of the weights file is not part of it, its numbers are."""
        session, reads = self.session, self.shown.reads
        recipe = session.recipe.resolved()
        model, data = recipe["model"], recipe["data"]["train"]
        data_plugins = [data["plugin"], *inner_plugins(session.recipe.data["train"].options)]
        return {
            "format": FORMAT,
            "torch": torch.__version__,
            "device": session.device.type,
            "precision": self.stage.train.precision,
            "deterministic": session.recipe.deterministic,
            "augment": self.stage.train.augment,
            "reads": None if reads is None else sorted(reads),
            "weights": _weights(self.system),
            "model": {key: value for key, value in model.items() if key != "weights"},
            "model_files": named_files("model", session.recipe.model.options),
            "model_code": code_of(session.plugins.get("models", model["plugin"])),
            "data": data,
            "data_code": [code_of(session.plugins.get("datasets", plugin)) for plugin in data_plugins],
            "samples": len(self.shown.source),
            "first_sample": digest(self.shown.first()).hex(),
        }

    @cached_property
    def key(self) -> str:
        """The digest of all that."""
        return hashlib.sha256(json.dumps(self.of, sort_keys=True).encode()).hexdigest()

    @property
    def path(self) -> Path:
        """Where the store is, or will be."""
        model, count = self.session.recipe.model.plugin, len(self.shown.source)
        return (self.stores or cache_directory(cache_room.KIND)) / f"{model}-{count}-{self.key[:16]}.zarr"

    def chosen(self) -> bool:
        """Whether `cache = "auto"` caches: as it did when the stage began, or as a measurement now says."""
        choice: cache_choice.Choice = self.session.agree(self._choice() if self.session.leads else None)
        self.keep(choice)
        return choice.on

    def keep(self, choice: cache_choice.Choice) -> None:
        """Note the choice for whoever resumes the stage, and tell of it."""
        self.session.write(self.folder / CHOICE, {"on": choice.on, "why": choice.why, "figures": choice.figures})
        _tell_choice(self.session, self.stage, choice)

    def _choice(self) -> cache_choice.Choice:
        if (self.folder / CHOICE).exists():
            kept = read_json(self.folder / CHOICE, on=bool, why=str, figures=dict)
            return cache_choice.Choice(kept["on"], kept["why"], kept["figures"])
        try:
            _check_augment(self.shown, self.shown.first())
            if self.path.exists():
                return cache_choice.Choice(True, f"{self.path} is there already", {})
            with evaluating(self.system):
                costs = cache_choice.measured(self.shown, self.answer, self.stage.train.batch_size, self.folder)
        except InputError as error:
            return cache_choice.Choice(False, _reason(error), {})
        train, processes = self.stage.train, self.session.accelerator.num_processes
        samples, steps = self.session.extent(self.stage)
        draws = steps * train.accumulate * train.batch_size * processes
        cache = next(each for each in self.path.parents if each.exists())
        return cache_choice.choose(costs, samples, draws, shutil.disk_usage(cache).free)

    def samples(self) -> FrozenSamples:
        """The samples from the store, which is filled before where it is not there.

        The leading process fills it, which tells of it too.
        """
        began, apart = time.perf_counter(), 0.0
        session, count = self.session, len(self.shown.source)

        def make(partial: Path) -> None:
            nonlocal apart
            apart = self._fill(partial)

        def open_it() -> tuple[bool, Lock]:
            return opened(self.path, make, lambda: session.check_stop(f"while another run makes {self.path}"))

        # The others find it there, unless they are on a machine with a cache of its own.
        made, lock = session.led(open_it, f"computing {count} frozen outputs") or open_it()
        store = FrozenStore(self.path, self.key)
        if made:
            seconds = time.perf_counter() - began
            text = f"frozen outputs of {count} samples computed in {seconds:.1f} s"
            details = {"seconds": seconds, "samples": count, "apart_in_a_batch": apart, "undeclared": self.silent}
        else:
            text, details = f"frozen outputs of {count} samples are read from {self.path}", {}
        session.emit(events.Note("info", text, {"store": self.path, **details}))
        return FrozenSamples(self.shown, store, lock, filled=made)

    def _fill(self, path: Path) -> float:
        session, system, train = self.session, self.system, self.stage.train

        def told(done: int, total: int, what: str) -> None:
            session.check_stop(what)
            session.emit(events.Note("info", what, {"done": done, "total": total}))

        def room(size: int) -> None:
            if self.stores is not None:
                samples, _ = session.extent(self.stage)
                cache_room.check_size(size * samples // len(self.shown.source), self.shown.where)
                return
            for each in cache_room.make_room(size, self.shown.where):
                text = f"removed the frozen outputs {each.path.name}, the longest unused, to make room"
                session.emit(events.Note("info", text, {"store": each.path, "bytes": each.size}))

        state = _random_state()
        with evaluating(system):
            how = Filling(train.batch_size, train.workers, told, room)
            apart = fill(path, self.shown, self.answer, self.key, self.of, how)
        if _random_state() != state:
            what = f"{system.names[0]} or {self.shown.source} draws from torch's random numbers"
            raise InputError(Problem(self.shown.where, what, "a base that always answers the same"), ADVICE)
        if _weights(system) != self.of["weights"]:
            raise PluginError(f"{system.names[0]} changes its own weights or buffers as it answers")
        return apart


def _weights(system: System) -> str:
    """One digest of the base's parameters and buffers."""
    parameters = frozenset(name for name, _ in system.base.named_parameters())
    buffers = frozenset(name for name, _ in system.base.named_buffers())
    return freeze.fingerprint(system.base, Selection(frozenset(), parameters, buffers, frozenset())).digest


def _random_state() -> bytes:
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ())]
    return b"".join(state.numpy().tobytes() for state in states)

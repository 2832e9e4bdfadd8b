"""The frozen-output cache of a stage: what the whole frozen base answers to data.train, computed once for every run."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch

from engine import events
from engine.code_digest import code_of
from engine.contracts import Dataset
from engine.data.cache import cache_directory, made_once
from engine.data.frozen import ADVICE, FrozenOutputs, fill, first_digest
from engine.data.frozen_store import FORMAT, FrozenStore
from engine.data.loader import as_source, to_device
from engine.data.source import Source
from engine.errors import InputError, PluginError, Problem
from engine.globs import Selection
from engine.prediction import Batch, Prediction
from engine.recipe.schema import Stage, inner_plugins
from engine.stages import freeze
from engine.stages.session import Session
from engine.system import System
from engine.training.evaluate import evaluating
from engine.training.forward import autocast


def check_cache(session: Session, stage: Stage, index: int, system: System, selection: Selection) -> list[Problem]:
    """What is wrong with `cache = "on"` in a stage that trains `selection`."""
    if stage.train.cache == "off":
        return []
    # A module in training mode answers differently too, even where it learns nothing.
    buffers = {name for name, _ in system.named_buffers()} - selection.frozen_buffers
    trains = [*sorted(selection.parameters), *sorted(selection.modules | buffers)]
    base = [name for name in trains if (name + ".").startswith("base.")]
    why = f"which trains {base[0]}" if base else "" if stage.injection else "which runs without the injection"
    if not why:
        return []
    what = f"the frozen base's outputs are to be cached in stage {stage.name}, {why}"
    expected = 'cache = "off" there, or the injection on and all of base.** frozen'
    return [Problem(session.recipe.where("stage", index, "train", "cache"), what, expected)]


def check_samples(session: Session) -> None:
    """InputError where a stage caches and the first sample of data.train draws random numbers.

    It is asked before the run, since a stage may begin days later; the other samples are held to it as they are read.
    """
    for index, stage in enumerate(session.recipe.stages):
        if stage.train.cache == "on":
            first_digest(as_source(session.dataset("train")), session.recipe.where("stage", index, "train", "cache"))


def training_samples(session: Session, stage: Stage, index: int, system: System) -> Dataset:
    """data.train as the stage reads it: with the frozen base's answers where the stage caches them.

    They are computed here if no run has done so: one process does, and others that want the same wait for it. Raises
    InputError for data that draw random numbers and for answers that cannot be kept, WorldError for a full disk,
    PluginError for a base that changes as it answers.
    """
    dataset = session.dataset("train")
    if stage.train.cache == "off":
        return dataset
    source, where = as_source(dataset), session.recipe.where("stage", index, "train", "cache")
    of = _identity(session, stage, system, source, where)
    key = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
    path = cache_directory("frozen") / f"{session.recipe.model.plugin}-{len(source)}-{key[:16]}.zarr"
    began, apart = time.perf_counter(), 0.0

    def answer(batch: Batch) -> Prediction:
        with autocast(session.device, stage.train.precision):
            return system(to_device(batch, session.device), inject=False)  # type: ignore[no-any-return]  # nn.Module

    def told(done: int, total: int, what: str) -> None:
        session.check_stop(what)
        session.emit(events.Note("info", what, {"done": done, "total": total}))

    def make(partial: Path) -> None:
        nonlocal apart
        state = _random_state()
        with evaluating(system):
            apart = fill(partial, source, answer, where, {"key": key, "of": of}, told)
        if _random_state() != state:
            what = f"{system.names[0]} or {source} draws from torch's random numbers"
            raise InputError(Problem(where, what, "a base that always answers the same"), ADVICE)
        if _weights(system) != of["weights"]:
            raise PluginError(f"{system.names[0]} changes its own weights or buffers as it answers")

    if made_once(path, make, lambda: session.check_stop(f"while another run makes {path}")):
        seconds = time.perf_counter() - began
        text = f"frozen outputs of {len(source)} samples computed in {seconds:.1f} s"
        details = {"store": path, "samples": len(source), "seconds": seconds, "apart_in_a_batch": apart}
    else:
        text, details = f"frozen outputs of {len(source)} samples are read from {path}", {"store": path}
    session.emit(events.Note("info", text, details))
    return FrozenOutputs(source, FrozenStore(path, key), where)


def _identity(session: Session, stage: Stage, system: System, source: Source, where: str) -> dict[str, Any]:
    """Everything that the answers depend on; the folder of the weights file is not part of it, its numbers are."""
    recipe = session.recipe.resolved()
    model, data = recipe["model"], recipe["data"]["train"]
    data_plugins = [data["plugin"], *inner_plugins(session.recipe.data["train"].options)]
    return {
        "format": FORMAT,
        "torch": torch.__version__,
        "device": session.device.type,
        "precision": stage.train.precision,
        "weights": _weights(system),
        "model": {key: value for key, value in model.items() if key != "weights"},
        "model_code": code_of(session.plugins.get("models", model["plugin"])),
        "data": data,
        "data_code": [code_of(session.plugins.get("datasets", plugin)) for plugin in data_plugins],
        "samples": len(source),
        "first_sample": first_digest(source, where).hex(),
    }


def _weights(system: System) -> str:
    """One digest of the base's parameters and buffers."""
    parameters = frozenset(name for name, _ in system.base.named_parameters())
    buffers = frozenset(name for name, _ in system.base.named_buffers())
    return freeze.fingerprint(system.base, Selection(frozenset(), parameters, buffers, frozenset())).digest


def _random_state() -> bytes:
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ())]
    return b"".join(state.numpy().tobytes() for state in states)

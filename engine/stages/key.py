"""What a finished stage follows from, as a plain document: its digest is the key, its fields tell what changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import BaseModel

from engine.code_digest import code_of, engine_code
from engine.data.frozen import digest
from engine.data.loader import as_source
from engine.files import file_digest
from engine.plugin_table import InnerData
from engine.plugins import BUILTINS
from engine.recipe.difference import SHOWN, differences, said
from engine.recipe.schema import Recipe, Stage, inner_plugins
from engine.registered import Kind
from engine.stages.session import Session
from engine.version import __version__

KEY = "key.json"

FORMAT = 2
"""Raise it with any change to this document or to what the folder of a finished stage holds: older ones stay behind."""

WITHOUT_EFFECT = {
    "title",  # words
    "init",  # the parent's key or the file's digest stands for it: paths and names alone change nothing
    "workers",  # samples are a function of seed, stage, epoch and index, whoever makes them
    "cache",  # frozen outputs are the same, read or computed, up to the rounding of their batch, which the run tells
    "log_every",  # when is told what was made all the same
    "checkpoint_every",  # saving draws nothing and changes nothing; checkpoints are not taken over
    "keep",  # how many of them stay
}
"""Keys of a stage that change neither its weights, its figures nor its verdicts; a key that is new counts."""

UNMEASURED = {
    "key",  # columns of a table that is printed anew
    "best",  # marks a checkpoint, and checkpoints are not taken over
}
"""Keys of [evaluate] that change no figure."""

Document = dict[str, Any]


def stage_keys(session: Session, processes: int) -> dict[str, Document]:
    """The document by name of every stage as so many processes train it, told without data.

    WorldError for a file that cannot be read.
    """
    recipe, resolved = session.recipe, session.recipe.resolved()
    shared = {
        "format": FORMAT,
        "torch": torch.__version__,
        "device": session.device.type,
        "processes": processes,
        "seed": recipe.seed,
        "deterministic": recipe.deterministic,
        "model": _without({"weights"}, resolved["model"]),
        "injection": resolved["injection"],
        "data": resolved["data"],
        "evaluate": _without(UNMEASURED, resolved["evaluate"]),
    }
    own = {"the engine": [__version__, engine_code()]}
    weights, documents = _file(session.pretrained()), dict[str, Document]()
    named = named_files("model", recipe.model.options)
    if recipe.injection is not None:
        named |= named_files("injection", recipe.injection.options)
    for split in _splits(recipe):
        named |= named_files(f"data.{split}", recipe.data[split].options)
    for stage, table in zip(recipe.stages, resolved["stage"], strict=True):
        parent = documents.get(stage.init or "")
        files = {
            "weights": weights,
            "init": _file(Path(stage.init)) if stage.init and stage.init_is_file else None,
            "parent": key_of(parent) if parent else None,
            **named,
        }
        for number, loss in enumerate(stage.train.losses):
            files |= named_files(f"losses.{number}.{loss.name}", loss.options)
        document = {
            **shared,
            "stage": _without(WITHOUT_EFFECT, table),
            "digests": files,
            "code": own | _code(session, stage),
        }
        # As it will be read back from a file, and without numbers that JSON has no word for.
        documents[stage.name] = json.loads(json.dumps(document), parse_constant=str)
    return documents


def key_of(document: Mapping[str, Any]) -> str:
    """The sha256 of a document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _without(keys: set[str], table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}


def _file(path: Path | None) -> str | None:
    if path is None:
        return None
    return file_digest(path) if path.is_file() else "no file"


def named_files(where: str, value: Any) -> dict[str, str | None]:
    """The digest of every file that options name, such as the weights of a part, under its key; folders have none."""
    if isinstance(value, InnerData):
        return named_files(where, value.options)
    if isinstance(value, Path):
        return {} if value.is_dir() else {where: _file(value)}
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, BaseModel | Mapping):
        inside = value.items() if isinstance(value, Mapping) else value
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    return {name: digest for key, each in inside for name, digest in named_files(f"{where}.{key}", each).items()}


def _code(session: Session, stage: Stage) -> dict[str, list[str]]:
    """Version and code digests of every plugin that has a part in the stage, by the plugin's name.

    Plugins that only listen have none. The gates and data sets that the engine brings are the engine's own code.
    """
    recipe = session.recipe
    splits = [recipe.data[split] for split in _splits(recipe)]
    named: list[tuple[str, str]] = [("models", recipe.model.plugin)]
    named += [("injections", recipe.injection.plugin)] if recipe.injection else []
    named += [("datasets", name) for split in splits for name in (split.plugin, *inner_plugins(split.options))]
    named += [("losses", loss.name) for loss in stage.train.losses]
    named += [("metrics", metric.name) for metric in recipe.evaluate.metrics]
    named += [("gates", gate.check) for gate in stage.gates]
    code: dict[str, list[str]] = {}
    for kind, name in dict.fromkeys(named):
        registered = session.plugins.get(cast(Kind, kind), name)
        if registered.plugin not in BUILTINS:
            plugin, version, files = code_of(registered)
            path = Path(plugin)  # a plugin file is called by its path, which may change
            noted = code.setdefault(f"plugin {path.name}", ["" if path.is_absolute() else version])
            noted += [files] if files not in noted else []
    return code


def changes(was: Mapping[str, Any], now: Mapping[str, Any], stage: Stage) -> list[str]:
    """What differs between two documents, in words, the recipe's own keys first."""
    differ = sorted(differences(was, now), key=lambda each: ORDER.index(each[0][0]) if each[0][0] in ORDER else 99)
    return [_change(*each, stage) for each in differ] or ["the order of its losses, metrics or gates changed"]


ORDER = ("stage", "seed", "deterministic", "model", "injection", "data", "evaluate", "digests", "code")


def in_words(changed: list[str]) -> str:
    """The first of several changes, and how many there are."""
    more = len(changed) - SHOWN
    return "; ".join(changed[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _change(path: tuple[str, ...], was: Any, now: Any, stage: Stage) -> str:
    match path:
        case ("code", name):
            if was is None or now is None:
                return f"{name} {'was' if was else 'is'} needed, and {'is not' if was else 'was not'}"
            old, new = (each[0] if isinstance(each, list) and each else "" for each in (was, now))
            return f"the code of {name} changed" + (f", {old} is now {new}" if old != new else "")
        case ("digests", "weights"):
            return "the weights that [model] starts from changed"
        case ("digests", "parent"):
            return f"it was trained from another {stage.init}"
        case ("digests", "init"):
            return "the weights that init names changed"
        case ("digests", name):
            return f"the file {name} changed"
        case ("stage", *keys):
            path = ("stage", stage.name, *keys)
    return said(path, was, now)


def data_identity(session: Session) -> dict[str, dict[str, Any]]:
    """How many samples each data set of the recipe holds, and the digest of its first one, without augmentation."""
    return {split: _identity(session, split) for split in _splits(session.recipe)}


def _splits(recipe: Recipe) -> Sequence[str]:
    return "train", "val", *recipe.data.kept()


def _identity(session: Session, split: str) -> dict[str, Any]:
    source = as_source(session.dataset(split))
    return {"samples": len(source), "first": digest(source.first(lambda index: source.sample(index, None))).hex()}

"""A recipe to begin with: the tables that follow from a few choices, and what is said beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from engine.errors import Problem
from engine.plugins import Plugins
from engine.recipe.nodes import KeyPath, Node, Source, build, labels
from engine.recipe.options import forms, parse_options
from engine.recipe.schema import Recipe
from engine.recipe.validate import uses
from engine.recipe.wording import problems_of
from engine.recipe.writing import toml_of
from engine.registered import BUILTIN_WEIGHTS, Registered

Pattern = Literal["base", "module", "three"]

STAGES: Mapping[Pattern, Sequence[str]] = {"base": ["A"], "module": ["B"], "three": ["A", "B", "C"]}

SPLITS = ("train", "val")

HEAD = """\
engine check {file}      finds mistakes
engine plan {file}       shows what would happen
engine run {file}        trains; any key can be changed for one run by --set KEY=VALUE"""
ABOUT: Mapping[KeyPath, str] = {
    ("seed",): "all random numbers follow from it",
    ("plugins",): "files of plugins that are not installed, relative to this file",
    ("model",): "The base: it is adapted in stage A, or corrected as it is.",
    ("injection",): "The module that corrects the base's answer, by no more than its bound.",
    ("data", "train"): "What stages train on.",
    ("data", "val"): "Held-out data: every stage and every gate is measured on them, and nothing trains on them.",
    ("train",): "How stages train; a stage may have any of these keys for itself, such as batch_size = 8.",
    ("evaluate",): "What is measured on the held-out data.",
    ("evaluate", "key"): "the figures of the final table",
}
TITLE = {"A": "base only", "B": "module only", "C": "joint"}
STAGE: Mapping[str, Mapping[str, Any]] = {
    "A": {"trainable": ["base.**"]},
    "B": {"trainable": ["injection.**"], "frozen": ["base.**"]},
    "C": {"trainable": ["**"], "warp": "pred"},
}
ABOUT_STAGE: Mapping[str, Mapping[str, str]] = {
    "A": {
        "": "The base alone: whatever is to be corrected later, it comes near the truth first.",
        "trainable": "globs over modules: `engine plan` shows them; what no glob names is frozen",
        "steps": "of the optimiser; begin with few",
    },
    "B": {
        "": "The module alone: a base that trained along would learn the task itself and leave the signal unused.",
        "init": "the weights that it starts from",
        "frozen": "the same bits at the end, which is checked",
        "warp": 'what aligns the signal: "gt" the truth, "pred" the base\'s answer',
        "steps": "of the optimiser; begin with few",
    },
    "C": {"": "Both settle on each other.", "warp": "as at inference, where there is no truth"},
}
GATE = {
    "entry": "Is the base's error within the module's bound? Otherwise no training can succeed.",
    "exit": "What is checked after the stage; the run goes on where it says no.",
}


@dataclass(frozen=True)
class Choices:
    """What a recipe is made of, by the names that plugins bring.

    file: where it will be written. plugins: files. weights: as in [model]; gates: all of the stage that trains the
    module: those that tell feasibility before it, others after it.
    """

    file: Path
    plugins: Sequence[Path]
    model: str
    weights: str | None
    injection: str | None
    train: str
    val: str
    stages: Pattern
    losses: Sequence[str]
    metrics: Sequence[str]
    gates: Sequence[str]
    warp: str
    steps: int


def begin(choices: Choices, registry: Plugins) -> Node:
    """The recipe as nodes whose places are the command line's flags; options without a default are still missing."""
    root = Node({}, _said(str(choices.file)), ())

    def put(key: str, value: Any, said: str) -> None:
        root.value[key] = build(value, _said(said), (key,))

    put("name", choices.file.stem, str(choices.file))
    put("seed", 0, str(choices.file))
    if choices.plugins:
        put("plugins", [os.path.abspath(path) for path in choices.plugins], "--plugin")  # noqa: PTH100  # no links
    put("model", {"plugin": choices.model}, f"--model {choices.model}")
    if choices.weights is not None:
        root.value["model"].value["weights"] = build(choices.weights, _said("--weights"), ("model", "weights"))
    if choices.injection is not None:
        put("injection", {"plugin": choices.injection}, f"--injection {choices.injection}")
    flags = {"train": ("--data", choices.train), "val": ("--val", choices.val)}
    put("data", {}, "--data")
    for split, (flag, name) in flags.items():
        table = build(_data(registry, name, split), _said(f"{flag} {name}"), ("data", split))
        root.value["data"].value[split] = table
    optimizer, schedule = {"name": "adamw", "lr": 2e-4}, {"name": "cosine", "warmup": 0.05}
    put("train", {"batch_size": 4, "optimizer": optimizer, "schedule": schedule}, "--loss")
    losses = [{"name": name} for name in choices.losses]
    root.value["train"].value["losses"] = _tables("--loss", choices.losses, losses, ("train", "losses"))
    if choices.metrics:
        put("evaluate", {}, "--metric")
        metrics = [{"name": name} for name in choices.metrics]
        root.value["evaluate"].value["metrics"] = _tables("--metric", choices.metrics, metrics, ("evaluate", "metrics"))
    put("stage", list(_stages(choices)), f"--stages {choices.stages}")
    for index, stage in enumerate(root.value["stage"].value):
        if stage.text("name") == "B" and choices.gates:
            gates = [_gate(name, registry) for name in choices.gates]
            stage.value["gate"] = _tables("--gate", choices.gates, gates, ("stage", index, "gate"))
    return root


def _tables(flag: str, names: Sequence[str], tables: Sequence[Mapping[str, Any]], path: KeyPath) -> Node:
    """An array of tables, each of which a flag asked for."""
    found = zip(names, tables, strict=True)
    nodes = [build(table, _said(f"{flag} {name}"), (*path, index)) for index, (name, table) in enumerate(found)]
    return Node(nodes, _said(flag), path)


def _gate(name: str, registry: Plugins) -> dict[str, Any]:
    """Whether the module can succeed is asked before it trains, whether it did afterwards."""
    thing = registry.find("gates", name)
    before = thing is not None and thing.extra.get("feasibility", False)
    return {"check": name, "at": "entry" if before else "exit", "on_fail": "stop" if before else "warn"}


def _said(words: str) -> Source:
    return Source(words, Path.cwd(), is_override=True)


def _data(registry: Plugins, name: str, split: str) -> dict[str, Any]:
    """A data set's table; where it has a choice between training and validation, that choice is made."""
    key = split_of(registry.get("datasets", name).options)
    return {"plugin": name} | ({key: split} if key else {})


def split_of(options: type[BaseModel]) -> str:
    """The option that tells training data from held-out data; empty where there is none."""
    found = [
        field.alias or name
        for name, field in options.model_fields.items()
        if any(get_origin(form) is Literal and set(SPLITS) <= set(get_args(form)) for form in forms(field.annotation))
    ]
    return found[-1] if found else ""  # the last is the data set's own, after those that it shares with others


def _stages(choices: Choices) -> Iterator[dict[str, Any]]:
    names = STAGES[choices.stages]
    for number, name in enumerate(names):
        stage: dict[str, Any] = {"name": name, "title": TITLE[name]}
        if number:
            stage["init"] = names[number - 1]
        stage.update(STAGE[name])
        if name == "A" and choices.injection is not None:
            stage["injection"] = False
        if name == "B":
            stage["warp"] = choices.warp
        stage["steps"] = choices.steps
        yield stage


@dataclass(frozen=True)
class Missing:
    """An option without a default that nothing sets: of what, its name, what it is, and the key that `--set` takes."""

    of: Registered
    option: str
    about: str
    key: str
    table: Node

    def put(self, value: Any) -> list[Problem]:
        """Set it, as `--set` would; what is wrong with the value is returned."""
        node = self.table.value[self.option] = build(value, _said(self.key), (self.option,))
        try:
            parse_options(self.of.options, {self.option: node.plain()})
        except ValidationError as error:
            alone = Node({self.option: node}, _said("the other options"), ())
            found = problems_of(error, alone, self.of.options)
            return [problem for problem in found if problem.where == self.key]
        return []


def missing(root: Node, registry: Plugins) -> Iterator[Missing]:
    """The options that must be set before the recipe is complete, in its order; each may be set before the next comes.

    What training data are told holds for held-out data of the same plugin. Nothing is told of names that are unknown.
    """
    train, _ = root.follow(("data", "train"))
    for use in uses(root):
        name = use.node.text(use.key)
        thing = registry.find(use.kind, name)
        if thing is None:
            continue
        held_out = use.path == ("data", "val") and name == train.text("plugin")
        for option, field in _options(thing).items():
            if not field.is_required() or option in use.node.value:
                continue
            if not held_out:
                yield Missing(thing, option, field.description or "", f"{_spelled(root, use.path)}.{option}", use.node)
            elif option in train.value:
                use.node.value[option] = train.value[option]


def _options(thing: Registered) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in thing.options.model_fields.items()}


def _spelled(root: Node, path: KeyPath) -> str:
    """A key path as `--set` takes it: stage.B.gate.threshold."""
    parts: list[str] = []
    node = root
    for part in path:
        parts.append(part if isinstance(part, str) else {index: label for label, index in labels(node)}[part])
        node = node.value[part]
    return ".".join(parts)


def written(root: Node, registry: Plugins, file: Path) -> str:
    """The recipe as TOML, with what each table and option is for beside it."""
    plain = root.plain()
    if "plugins" in plain:
        plain["plugins"] = [os.path.relpath(path, file.parent) for path in plain["plugins"]]
    notes = {**ABOUT, (): HEAD.format(file=file)}
    for use in uses(root):
        options = _options(registry.get(use.kind, use.node.text(use.key)))
        for name in options.keys() & use.node.value.keys():
            notes[*use.path, name] = options[name].description or ""
        further = ", ".join(name for name in options if name not in use.node.value)
        if further and use.path in ABOUT:
            notes[use.path] = f"{ABOUT[use.path]}\nFurther options: {further}."
    model = plain["model"]
    if "weights" not in model:
        shipped = registry.get("models", model["plugin"]).extra.get("weights", {})
        known = " or ".join(f'"{BUILTIN_WEIGHTS}{name}"' for name in shipped)
        notes["model",] += f"\nIt begins with fresh weights; weights = {known or 'a path'} begins with those."
    for index, stage in enumerate(plain["stage"]):
        for key, note in ABOUT_STAGE.get(stage["name"], {}).items():
            notes[("stage", index, key) if key else ("stage", index)] = note
        for number, gate in enumerate(stage.get("gate", ())):
            notes["stage", index, "gate", number] = GATE[gate.get("at", "entry")]
    return toml_of(plain, notes)


def complete(root: Node, recipe: Recipe) -> None:
    """Put the first figure of each metric into the final table, where nothing says what it shows."""
    names = [recipe.registry.get("metrics", of.name).produces(of.options) for of in recipe.evaluate.metrics]
    shown = [each[0] for each in names if each]
    evaluate = root.child("evaluate")
    if shown and evaluate is not None and "key" not in evaluate.value:
        evaluate.value["key"] = build(shown, evaluate.source, ("evaluate", "key"))

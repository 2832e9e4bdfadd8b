"""What a recipe means: everything that depends on plugins, on files, or on two tables at once.

Works on the nodes and not on the parsed recipe, so that a wrong type in one table does not hide a wrong name in
another. A value of the wrong type is skipped here; the schema reports it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from engine.errors import EngineError, PluginError, Problem, nearest
from engine.plugin_table import InnerData, PluginTable
from engine.plugins import Plugins
from engine.recipe.nodes import KeyPath, Node, Source, build
from engine.recipe.options import inner_data, make_paths_absolute, parse_options
from engine.recipe.schema import (
    DataTable,
    GateTable,
    InjectionTable,
    LossTable,
    MetricTable,
    ModelTable,
    Recipe,
    TrackerTable,
    is_weights_file,
)
from engine.recipe.wording import problems_of
from engine.registered import BUILTIN_WEIGHTS, Kind, Registered, guarded


@dataclass(frozen=True)
class Use:
    """A table that asks for something a plugin brings; `key` holds the name."""

    path: KeyPath
    node: Node
    kind: Kind
    key: str
    table: type[PluginTable]


class Meaning:
    """The checks, all made at once: `problems` found, and the validated `options` by key path of their table.

    data_paths: the files and folders that data sets' options name.
    """

    def __init__(self, root: Node, registry: Plugins, may_miss_plugins: bool) -> None:
        self.root = root
        self.registry = registry
        self.may_miss_plugins = may_miss_plugins
        self.problems: list[Problem] = []
        self.unknown_names = False
        self.options: dict[KeyPath, BaseModel] = {}
        self.data_paths: list[Node] = []
        self.found: dict[KeyPath, Registered] = {}
        self.uses = list(uses(root))

        for use in self.uses:  # which grows: an options model may take tables of further data sets
            self._check_use(use)
        self._check_weights()
        self._check_metric_names()
        self._check_stages()

    def _report(self, node: Node, what: str, expected: str = "", near: list[str] | None = None) -> None:
        self.problems.append(Problem(node.here, what, expected, tuple(near or ())))

    def _check_use(self, use: Use) -> None:
        name = use.node.text(use.key)
        if not name:
            return
        registered = self.registry.find(use.kind, name)
        if registered is None:
            # A plugin file that could not be loaded is reported already, and may be the one that brings the name.
            if not self.may_miss_plugins:
                self.unknown_names = True
                self.problems.append(self.registry.unknown(use.node.where((use.key,)), use.kind, name))
            return
        self.found[use.path] = registered
        own = use.table.own_keys()
        options = Node({key: node for key, node in use.node.value.items() if key not in own}, use.node.source, ())
        paths = make_paths_absolute(registered.options, options)
        self.data_paths += paths if use.kind == "datasets" else []
        for path, node, table in inner_data(registered.options, options, use.path):
            self.uses.append(Use(path, node, "datasets", "plugin", table))
        try:
            with guarded(f"the options of {registered} could not be checked", passing=ValidationError):
                self.options[use.path] = parse_options(registered.options, options.plain())
        except ValidationError as error:
            self.problems += problems_of(error, self.root, registered.options, use.path, tuple(own))
        else:
            _check_defaults(registered, self.options[use.path])

    def _check_weights(self) -> None:
        model = self.root.child("model")
        weights = model.child("weights") if model is not None else None
        if weights is None or not isinstance(weights.value, str) or not weights.value:
            return
        # Whether a file is there belongs to the world, not to the recipe: engine/recipe/missing.py.
        if weights.value.startswith(BUILTIN_WEIGHTS) and ("model",) in self.found:
            shipped = [BUILTIN_WEIGHTS + name for name in self.found["model",].extra.get("weights", {})]
            if weights.value not in shipped:
                near = nearest(weights.value, shipped)
                expected = "" if near else f"one of {', '.join(shipped)}" if shipped else "a path; it ships none"
                self._report(weights, f"the model ships no weights {weights.value!r}", expected, near)

    def _check_metric_names(self) -> None:
        """Names in `key`, `best` and gates must be yielded by a metric of [evaluate], each by only one."""
        metrics = [use for use in self.uses if use.kind == "metrics"]
        produced: set[str] = set()
        for use in metrics:
            if use.path not in self.options:
                return  # what this metric yields is not known, so no name can be called wrong
            names = set(self.found[use.path].produces(self.options[use.path]))
            for name in sorted(names & produced):
                self._report(use.node, f"two entries of evaluate.metrics yield {name!r}", "one")
            produced |= names

        for node in _named_metrics(self.root):
            self._check_metric(node, node.value, produced)
        for use in self.uses:
            if use.kind == "gates" and use.path in self.options:
                for name in self.found[use.path].needs(self.options[use.path]):
                    self._check_metric(_holder(use.node, name), name, produced)

    def _check_metric(self, node: Node, name: str, produced: set[str]) -> None:
        if name not in produced:
            near = nearest(name, sorted(produced))
            expected = "" if near else f"one of {', '.join(sorted(produced))}" if produced else "a metric there"
            if yielding := self._yielding(name):
                near, expected = [], f"{{ name = {json.dumps(yielding)} }} among the metrics of [evaluate], which does"
            self._report(node, f"no metric of [evaluate] yields {name!r}", expected, near)

    def _yielding(self, name: str) -> str:
        """A metric that yields this name with the defaults of its options; empty when there is none."""
        for metric in map(partial(self.registry.get, "metrics"), self.registry.names("metrics")):
            with suppress(ValidationError, EngineError):  # it needs options, or fails: others may not
                if name in metric.produces(parse_options(metric.options, {})):
                    return metric.name
        return ""

    def _check_stages(self) -> None:
        stages = [stage for stage in _items(self.root.child("stage")) if isinstance(stage.value, dict)]
        names = [stage.text("name") for stage in stages]
        for index, stage in enumerate(stages):
            if names[index] and names[index] in names[:index]:
                self._report(stage.value["name"], f"two stages are named {names[index]!r}", "each name once")
            self._check_init(stage, names, index)
            self._check_injection(stage)
            self._check_losses(stage)
            self._check_overflows(stage)
            for gate in _items(stage.child("gate")):
                self._check_gate(stage, gate)
        data = self.root.child("data")
        if stages and data is not None and isinstance(data.value, dict) and data.child("train") is None:
            self._report(data, "the key 'train' is missing in [data]", "[data.train], because there are stages")

    def _check_init(self, stage: Node, names: list[str], index: int) -> None:
        init = stage.text("init")
        if not init or init in names[:index] or is_weights_file(init):
            return
        node = stage.value["init"]
        if init in names[index:]:
            which = "itself" if init == names[index] else f"{init!r}, which comes later"
            self._report(node, f"'init' names {which}; stages run in order", "the name of an earlier stage")
        else:
            near = nearest(init, names[:index])
            expected = "an earlier stage, or a file that ends in .safetensors, .pth or .pt"
            self._report(node, f"there is no stage {init!r}", expected, near)

    def _check_injection(self, stage: Node) -> None:
        injection, warp = stage.child("injection"), stage.child("warp")
        wanted = injection is not None and injection.value is True
        available = (table := self.root.child("injection")) is not None and table.is_given
        if injection is not None and wanted and not available:
            self._report(injection, "this stage asks for the injection, and the recipe has none", "an [injection]")
        if warp is not None and warp.is_given and not wanted:
            self._report(warp, "'warp' has no effect in a stage without the injection", "injection = true, or no warp")

    def _check_losses(self, stage: Node) -> None:
        train = stage.child("train")
        losses = train.child("losses") if train is not None else None
        if losses is None or losses.value == []:
            self._report(losses or stage, "there are no losses to train with", "'losses' in [train] or in the stage")

    def _check_overflows(self, stage: Node) -> None:
        train = stage.child("train")
        nonfinite = train.child("nonfinite") if train is not None else None
        if train is None or nonfinite is None or train.text("precision") != "fp16" or nonfinite.text("policy") != "off":
            return
        what = "fp16 overflows while it seeks its scale, and nobody would look"
        self._report(nonfinite.value["policy"], what, "the policy 'stop' or 'skip'")

    def _check_gate(self, stage: Node, gate: Node) -> None:
        extend, on_fail = gate.child("extend"), gate.text("on_fail")
        given = extend is not None and extend.is_given
        if on_fail != "extend":
            if extend is not None and given:
                self._report(extend, "'extend' has no effect here", 'on_fail = "extend"')
            return
        node = gate.value["on_fail"]
        if not given:
            self._report(node, 'on_fail = "extend" does not say how far', "extend = { steps = , times = }")
        if gate.text("at") == "exit":
            self._report(node, 'on_fail = "extend" at the exit of a stage', 'at = "entry"')
        init = stage.text("init")
        if not init or is_weights_file(init):
            self._report(node, 'on_fail = "extend" has no stage to train further', "'init' with a stage's name")


def _check_defaults(registered: Registered, options: BaseModel) -> None:
    """PluginError for defaults that the options model itself would refuse.

    pydantic does not look at defaults, and a run that could not read its own recipe again could not be resumed.
    """
    with guarded(f"the options of {registered} cannot be written down, so no run could be resumed", PluginError):
        data = options.model_dump(by_alias=True, round_trip=True, warnings=False)
        plain = to_jsonable_python(data, inf_nan_mode="constants")
    try:
        parse_options(type(options), plain)
    except ValidationError as error:
        source = Source("its defaults", Path.cwd(), is_override=True)
        found = [str(problem) for problem in problems_of(error, build(plain, source), type(options))]
        raise PluginError(f"{registered} refuses its own options: {'; '.join(found)}") from error


def attach(recipe: Recipe, options: dict[KeyPath, BaseModel], registry: Plugins) -> None:
    """Put the validated options in place of the raw ones, a table's before those of the data sets within them."""
    for path, instance in options.items():
        target: Any = recipe
        for part in path:
            target = _inside(target, part)
        target.options = instance
        if isinstance(target, InnerData):
            target._registry = registry


def _inside(target: Any, part: str | int) -> Any:
    """What a recipe's object has at one key or index."""
    if isinstance(target, PluginTable) and part not in target.own_keys():
        target = target.options
    if not isinstance(target, BaseModel):
        return target[part]
    return next(
        getattr(target, name) for name, field in type(target).model_fields.items() if part == (field.alias or name)
    )


def uses(root: Node) -> Iterator[Use]:
    """Every table of a recipe that asks for something a plugin brings."""
    yield from _use(root, ("model",), "models", "plugin", ModelTable)
    yield from _use(root, ("injection",), "injections", "plugin", InjectionTable)
    for split in ("train", "val"):
        yield from _use(root, ("data", split), "datasets", "plugin", DataTable)
    retention, taken = root.follow(("data", "retention"))
    if len(taken) == 2 and isinstance(retention.value, dict):
        for name in retention.value:
            yield from _use(root, ("data", "retention", name), "datasets", "plugin", DataTable)
    yield from _use_each(root, ("train", "losses"), "losses", "name", LossTable)
    yield from _use_each(root, ("evaluate", "metrics"), "metrics", "name", MetricTable)
    yield from _use_each(root, ("tracker",), "trackers", "plugin", TrackerTable)
    for index in range(len(_items(root.child("stage")))):
        yield from _use_each(root, ("stage", index, "train", "losses"), "losses", "name", LossTable)
        yield from _use_each(root, ("stage", index, "gate"), "gates", "check", GateTable)


def _use(root: Node, path: KeyPath, kind: Kind, key: str, table: type[PluginTable]) -> Iterator[Use]:
    node, taken = root.follow(path)
    if taken == path and isinstance(node.value, dict):
        yield Use(path, node, kind, key, table)


def _use_each(root: Node, path: KeyPath, kind: Kind, key: str, table: type[PluginTable]) -> Iterator[Use]:
    node, taken = root.follow(path)
    if taken == path:
        for index in range(len(_items(node))):
            yield from _use(root, (*path, index), kind, key, table)


def _items(array: Node | None) -> list[Node]:
    return array.value if array is not None and isinstance(array.value, list) else []


def _named_metrics(root: Node) -> list[Node]:
    evaluate = root.child("evaluate")
    if evaluate is None:
        return []
    nodes = [*_items(evaluate.child("key")), evaluate.child("best")]
    return [node for node in nodes if node is not None and isinstance(node.value, str) and node.value]


def _holder(table: Node, text: str) -> Node:
    """The value of `table` that says `text`, to point at; the table itself when the text is a default."""
    return next((node for node in table.value.values() if node.value == text), table)

"""What a recipe may say: its tables, keys, types, ranges and defaults.

What a docstring here says of a key, as "key: what it does.", is read by users: in editors and in docs/recipe.md.

Only what can be told from the recipe alone is checked here. What depends on plugins or on other tables is in
`engine.recipe.validate`. TOML has no null, so 0 turns off what is on by default (`clip_norm = 0`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError, to_jsonable_python

from engine.errors import nearest
from engine.plugin_table import InnerData, PluginTable, Text

if TYPE_CHECKING:
    from pathlib import Path

    from engine.plugins import Plugins
    from engine.recipe.nodes import Node

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")

# Names become folders of the run and parts of `--set stage.NAME.key=value`: no separators, no dots.
SLUG = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
Slug = Annotated[str, Field(pattern=SLUG, max_length=100)]  # folders may have 255, and add to it
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


def _zero_is_off(value: Any) -> Any:
    return None if isinstance(value, int | float) and not isinstance(value, bool) and value == 0 else value


Off = BeforeValidator(_zero_is_off)


class Table(BaseModel):
    """A table of the recipe: unknown keys are errors, values do not change after loading.

    Defaults that are tables are made by `model_construct`, which needs no validator: those are built when a recipe is
    read, and not by every command that imports this file.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=False, defer_build=True
    )


class ModelTable(PluginTable):
    """[model]: the base model.

    weights: a path, or "builtin:NAME" for what the plugin ships; fresh weights without it.
    """

    plugin: Text
    weights: Text | None = None


class InjectionTable(PluginTable):
    """[injection]: the auxiliary module."""

    plugin: Text


class DataTable(PluginTable):
    """[data.train] or [data.val]: one data set.

    damaged: what follows a sample that cannot be read as it was stored. stop, or skip it: training takes the next one
    in its place, evaluation leaves it out, and each is named.
    """

    plugin: Text
    damaged: Literal["stop", "skip"] = "stop"


class Data(Table):
    """[data]: what stages train on and are measured on; in code `recipe.data["val"]`, `recipe.data["retention.NAME"]`.

    train: what stages train on, needed where there are stages. val: held-out data, which every stage is measured on.
    retention: further held-out data by name, measured before and after each stage: does it forget what it came from?
    """

    train: DataTable | None = None
    val: DataTable
    retention: dict[Slug, DataTable] = {}

    def __getitem__(self, name: str) -> DataTable:
        group, _, kept = name.partition(".")
        table = self.retention[kept] if group == "retention" else {"train": self.train, "val": self.val}[name]
        if table is None:
            raise KeyError(name)
        return table

    def kept(self) -> list[str]:
        """The names of the retention data, as in `data["retention.NAME"]`."""
        return [f"retention.{name}" for name in self.retention]


class LossTable(PluginTable):
    """One entry of `losses`.

    weight: what the loss is multiplied by.
    """

    name: Text
    weight: float = 1.0


class MetricTable(PluginTable):
    """One entry of `evaluate.metrics`."""

    name: Text


class ParameterGroup(Table):
    """Parameters that learn at a rate of their own.

    match: a glob over names of parameters. lr: their rate.
    """

    match: Text
    lr: Positive


class Optimizer(Table):
    """How parameters change.

    name: the optimiser. lr: the learning rate at its highest. weight_decay: decoupled from the gradient. betas: how
    slowly the two moments forget. eps: what is added to the root of the second moment. groups: other rates for some
    parameters; the first that matches one sets its rate.
    """

    name: Literal["adamw"] = "adamw"
    lr: Positive = 2e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    eps: Positive = 1e-8
    groups: list[ParameterGroup] = []


class Schedule(Table):
    """The learning rate over a stage.

    name: its shape after the warm-up; "step" falls to `final` at once when four fifths of the steps are made. warmup:
    the fraction of the steps in which it rises. final: what it ends at, a fraction of lr.
    """

    name: Literal["cosine", "constant", "one-cycle", "step"] = "cosine"
    warmup: Share = 0.05
    final: Share = 0.0


class Nonfinite(Table):
    """What follows a loss or gradient that is not finite.

    policy: stop the run, skip the step, or off, where nobody looks and no step pays for it; fp16, whose scale is found
    by overflows, needs one of the others. limit: steps that may be skipped in a stage.
    """

    policy: Literal["stop", "skip", "off"] = "stop"
    limit: Count = 10


class Train(Table):
    """[train]: how stages train; every stage may override each key.

    batch_size: samples of a micro-step, in each process. accumulate: micro-steps of a step. workers: processes that
    load data, 0 for none. precision: of the forward pass. optimizer: how parameters change. schedule: the learning rate
    over a stage. losses: their weighted sum is minimised. clip_norm: the largest norm of the gradient; 0 turns clipping
    off. ema: decay of a moving average of the weights, which is then measured and handed on; 0 is none. nonfinite: what
    follows numbers that are not finite. log_every: steps between two reports. evaluate_every: steps between two
    evaluations; 0 is only at the end. checkpoint_every: steps between two checkpoints; 0 is only at the end. keep:
    newest checkpoints that stay, beside the best.
    cache: "on" computes what the frozen base answers to each training sample once and keeps it on the disk; "auto" does
    so where it measures that this is quicker. augment: with "after-cache" the base sees whole frames, and the random
    crops and flips of the data are applied to them and to its answers.
    compile: through torch.compile, which changes the last bits; what it cannot compile runs uncompiled, with a note.
    """

    batch_size: Count = 4
    accumulate: Count = 1
    workers: Annotated[int, Field(ge=0)] = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    cache: Literal["off", "on", "auto"] = "off"
    augment: Literal["before-cache", "after-cache"] = "before-cache"
    optimizer: Optimizer = Optimizer.model_construct()
    schedule: Schedule = Schedule.model_construct()
    losses: list[LossTable] = []
    clip_norm: Annotated[Positive | None, Off] = 1.0
    ema: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, Off] = None
    nonfinite: Nonfinite = Nonfinite.model_construct()
    log_every: Count = 10
    evaluate_every: Annotated[Count | None, Off] = None
    checkpoint_every: Annotated[Count | None, Off] = None
    keep: Count = 2


class Evaluate(Table):
    """[evaluate]: what is measured on held-out data.

    batch_size: samples that are measured at once. metrics: what is measured.
    key: metrics of the final table, in order. best: the metric whose minimum selects the best checkpoint. ablations:
    what stages with the injection are measured with at their end, besides its real signal; "own" is all that it brings.
    """

    batch_size: Count = 8
    metrics: list[MetricTable] = []
    key: list[Text] = []
    best: Text | None = None
    ablations: list[Text] = []


Source = Literal["gt", "pred"]


class WarpMix(Table):
    """Each step draws what it aligns by.

    gt: the probability of the ground truth. pred: that of the prediction.
    """

    gt: Share
    pred: Share

    @model_validator(mode="after")
    def _whole(self) -> WarpMix:
        # 1e-6 forgives decimal shares such as thirds, and nothing that anyone would write on purpose.
        if abs(self.gt + self.pred - 1) > 1e-6:
            raise _mistake(f"the shares of gt and pred sum to {self.gt + self.pred:g}", "a sum of 1")
        return self

    def gt_share(self, progress: float) -> float:
        """Probability that a step aligns by the ground truth; the same at every `progress`."""
        return self.gt

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> Any:
        return {1.0: "gt", 0.0: "pred"}.get(self.gt) or handler(self)


class WarpSchedule(Table):
    """The source changes linearly, and then stays.

    from: the source at the start. to: the source at the end. over: the fraction of the stage's steps that it takes.
    """

    source: Source = Field(alias="from")
    to: Source
    over: Annotated[float, Field(gt=0, le=1)]

    def gt_share(self, progress: float) -> float:
        """Probability that a step at `progress` in [0, 1] aligns by the ground truth."""
        start, end = float(self.source == "gt"), float(self.to == "gt")
        return start + (end - start) * min(progress / self.over, 1.0)


def _spell_out(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ("gt", "pred"):
            raise _mistake(f"the warp source {value!r} is unknown", _WARP_FORMS, nearest(value, ("gt", "pred")))
        return {"gt": float(value == "gt"), "pred": float(value == "pred")}
    if value is not None and not isinstance(value, dict | WarpMix | WarpSchedule):
        raise _mistake(f"'warp' is {value!r}", _WARP_FORMS)
    return value


def _form(value: Any) -> str:
    scheduled = isinstance(value, dict) and not value.keys().isdisjoint({"from", "to", "over"})
    return "schedule" if scheduled or isinstance(value, WarpSchedule) else "mix"


_WARP_FORMS = "'gt', 'pred', { from = , to = , over = } or { gt = , pred = }"
Warp = Annotated[Annotated[WarpMix, Tag("mix")] | Annotated[WarpSchedule, Tag("schedule")], Discriminator(_form)]


class TrackerTable(PluginTable):
    """[[tracker]]: a program that is told of the run; what is written here changes no result."""

    plugin: Text


class Extend(Table):
    """Train the parent stage further and ask again.

    steps: how much further. times: how often at most.
    """

    steps: Count
    times: Count


class GateTable(PluginTable):
    """[[stage.gate]]: a check before or after a stage.

    at: before the stage or after it. on_fail: stop the run, warn and go on, or extend the parent stage. accept:
    verdicts that count as good beside "pass". extend: how far the parent stage is trained further.
    """

    check: Text
    at: Literal["entry", "exit"] = "entry"
    on_fail: Literal["stop", "warn", "extend"] = "stop"
    accept: list[Literal["warn", "undetermined", "nothing-to-gain"]] = Field(default=[])
    extend: Extend | None = None


class Stage(Table):
    """[[stage]]: what trains, from which weights, for how long.

    name: what other stages, folders and `--set stage.NAME.key` call it. title: a few words for tables. trainable: globs
    over modules and parameters; `*` stays within a level, `**` crosses levels. frozen: globs that win over trainable.
    init: an earlier stage's name, or the path of a weights file; without it the weights of [model]. warp: what aligns
    the auxiliary signal; without it "pred" where the injection runs. injection: whether the injection corrects the
    base; without it, whether there is one. steps: of the optimiser. gate: checks before and after. train: [train] with
    this stage's own keys over it.
    """

    name: Slug
    title: str = ""
    trainable: Annotated[list[Text], Field(min_length=1)]
    frozen: list[Text] = []
    init: Text | None = None
    warp: Annotated[Warp | None, BeforeValidator(_spell_out)] = None
    injection: bool
    steps: Count
    gates: list[GateTable] = Field(default=[], alias="gate")
    train: Train

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        train: dict[str, Any] = data.pop("train")
        return data | train

    @property
    def init_is_file(self) -> bool:
        """True when `init` names a weights file, not a stage."""
        return self.init is not None and is_weights_file(self.init)

    def extension(self, number: int) -> str:
        """The name under which a gate of this stage has `init` trained further for the `number`th time, from 1."""
        return f"{self.init}+{number}-for-{self.name}"


class Recipe(Table):
    """A loaded recipe: complete, typed, and checked against the plugins it names.

    name: what its runs are called. description: for people. seed: what all random numbers follow from. deterministic:
    by torch's deterministic algorithms, with which a GPU too repeats and resumes bit for bit, more slowly. plugins:
    files of plugins that are not installed, relative to the recipe. model: the base. injection: the auxiliary module.
    data: what is trained and measured on. train: how stages train. evaluate: what is measured. stage: what trains, in
    order. tracker: programs that are told of the run.
    """

    name: Slug
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # what numpy's global generator takes
    deterministic: bool = False
    plugins: list[Text] = []
    model: ModelTable
    injection: InjectionTable | None = None
    data: Data
    train: Train = Train.model_construct()
    evaluate: Evaluate = Evaluate.model_construct()
    stages: list[Stage] = Field(default=[], alias="stage")
    trackers: list[TrackerTable] = Field(default=[], alias="tracker")

    _nodes: Node | None = PrivateAttr(default=None)
    _registry: Plugins | None = PrivateAttr(default=None)
    _data_paths: tuple[Node, ...] = PrivateAttr(default=())

    @property
    def data_paths(self) -> tuple[Node, ...]:
        """The files and folders that its data sets name, absolute, at every depth; not those that are defaults."""
        return self._data_paths

    @property
    def registry(self) -> Plugins:
        """The plugins that this recipe was checked against, its own files among them."""
        assert self._registry is not None, "only a recipe from load_recipe has a registry"
        return self._registry

    @property
    def pretrained(self) -> Path | None:
        """The file that `[model] weights` names, one that the plugin ships or a path; None when there is none."""
        name = self.model.weights
        return None if name is None else self.registry.get("models", self.model.plugin).weights_file(name)

    def where(self, *path: str | int) -> str:
        """The "file:line:column" of a key, such as where("stage", 1, "trainable", 0), for messages.

        A key that the recipe does not set gives the place of the table it would be in.
        """
        assert self._nodes is not None, "only a recipe from load_recipe knows where its keys are"
        return self._nodes.where(path)

    def resolved(self) -> dict[str, Any]:
        """This recipe as plain data with every default filled in and every path absolute, in the shape of the file."""
        data = self.model_dump(by_alias=True, round_trip=True)
        # not model_dump(mode="json"): that makes an infinite option null, which would be read back as another value
        plain: dict[str, Any] = to_jsonable_python(data, inf_nan_mode="constants")
        return plain

    def training(self) -> dict[str, Any]:
        """What of `resolved()` has a part in the run; who is told of it has none."""
        return {key: value for key, value in self.resolved().items() if key != "tracker"}


def inner_plugins(options: Any) -> Iterator[str]:
    """The plugins of the data sets within validated options, at every depth."""
    return (table.plugin for table in inner_tables(options))


def inner_tables(options: Any) -> Iterator[InnerData]:
    """The tables of the data sets within validated options, each before those within its own options."""
    if isinstance(options, InnerData):
        yield options
    if isinstance(options, BaseModel):
        options = [getattr(options, name) for name in type(options).model_fields]
    if isinstance(options, dict):
        options = options.values()
    if not isinstance(options, str) and isinstance(options, Iterable):
        for inner in options:
            yield from inner_tables(inner)


def is_weights_file(init: str) -> bool:
    """Whether a stage's `init` is meant as a file."""
    return init.endswith(WEIGHT_SUFFIXES)


def _mistake(what: str, expected: str, near: list[str] | None = None) -> PydanticCustomError:
    """An error in the words of `engine.errors.Problem`; `engine.recipe.wording` takes it as it is."""
    return PydanticCustomError("recipe", "{what}", {"what": what, "expected": expected, "near": near or []})

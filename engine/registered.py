"""What plugins register: its kinds, what each must bring, and how the engine calls a stranger's code."""

from __future__ import annotations

import pkgutil
import re
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from engine.commands import COMMANDS
from engine.errors import EngineError, PluginError, nearest

Kind = Literal[
    "models",
    "exports",
    "injections",
    "inputs",
    "datasets",
    "losses",
    "metrics",
    "gates",
    "inspections",
    "pictures",
    "trackers",
]

SINGULAR: Mapping[Kind, str] = {
    "models": "model",
    "exports": "export",
    "injections": "injection",
    "inputs": "reader of inputs",
    "datasets": "data set",
    "losses": "loss",
    "metrics": "metric",
    "gates": "gate",
    "inspections": "inspection",
    "pictures": "picture",
    "trackers": "tracker",
}

# Keys that the engine itself reads in a plugin's table of the recipe, or on the command line; an option of that name
# could never be set.
RESERVED: Mapping[Kind, frozenset[str]] = {
    "models": frozenset({"plugin", "weights"}),
    "exports": frozenset(),
    "injections": frozenset({"plugin"}),
    "inputs": frozenset({"out", "weights", "set", "tile", "overlap", "export", "json", "help"}),
    "datasets": frozenset({"plugin", "damaged"}),
    "losses": frozenset({"name", "weight"}),
    "metrics": frozenset({"name"}),
    "gates": frozenset({"check", "at", "on_fail", "accept", "extend"}),
    "inspections": frozenset(),
    "pictures": frozenset(),
    "trackers": frozenset({"plugin"}),
}

EXTRAS: Mapping[Kind, tuple[str, ...]] = {
    "exports": (),
    "models": ("target", "weights", "reach"),
    "injections": (),
    "inputs": ("exports",),
    "datasets": ("files",),
    "losses": (),
    "metrics": ("produces",),
    "gates": ("needs", "feasibility"),
    "inspections": (),
    "pictures": (),
    "trackers": (),
}

BUILTIN_WEIGHTS = "builtin:"

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_COMMAND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

PACKAGES: set[str] = set()
"""The top packages of the plugins that this process has loaded: the code whose lines a message names."""


class guarded:  # noqa: N801  # read as a statement, like contextlib.suppress
    """Run a plugin's code; whatever it raises becomes a PluginError that begins with `what` and ends with the line.

    `passing` passes as it is. By default that is EngineError: the plugin has already explained itself to the user.
    """

    # A class, not a generator: a training step enters several.
    def __init__(self, what: str, passing: type[BaseException] | tuple[type[BaseException], ...] = EngineError) -> None:
        self._what, self._passing = what, passing

    def __enter__(self) -> None:
        pass

    # A plugin is a stranger's code and may raise anything, even SystemExit from a script's last line. This is the only
    # place that catches so broadly; everything that calls a plugin goes through it.
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, (self._passing, KeyboardInterrupt, GeneratorExit)):
            return  # the last two are not the plugin's
        raise PluginError(f"{self._what}: {type(error).__name__}: {_words(error)}{_place(error)}") from error


def _words(error: BaseException) -> str:
    with suppress(Exception):  # what an exception says of itself is a stranger's code too
        return str(error)
    return "it cannot say why"


def _place(error: BaseException) -> str:
    """' (file:line)' of the deepest frame in the plugin that the engine called; empty where no code of a plugin ran.

    Deeper frames of torch, of the engine or of another plugin are passed over: what they were called with was wrong.
    """
    called, place = "", ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        package, file = str(frame.f_globals.get("__name__")).partition(".")[0], frame.f_code.co_filename
        # "<string>" is code that was made, such as the __init__ of a dataclass
        if package in PACKAGES and called in ("", package) and not file.startswith("<"):
            called, place = package, f" ({file}:{line})"
    return place


@dataclass(frozen=True)
class Registered:
    """One thing that a plugin brings: its options model, its factory, and who brought it.

    extra: `target`, `weights` and `reach` of models, `exports` of inputs, `files` of data sets, `produces` of metrics,
    `needs` and `feasibility` of gates.
    """

    kind: Kind
    name: str
    options: type[BaseModel]
    factory: str | Callable[[Any], Any]
    plugin: str
    distribution: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        # a plugin file is named by its path, which is also where it comes from
        origin = f" ({self.distribution})" if self.distribution != self.plugin else ""
        return f"{SINGULAR[self.kind]} {self.name!r} of plugin {self.plugin!r}{origin}"

    def build(self, options: BaseModel) -> Any:
        """The object that the factory makes of `options`.

        Raises PluginError when the factory cannot be imported or raises anything that is not an EngineError.
        """
        with guarded(f"{self} could not be built"):
            factory = pkgutil.resolve_name(self.factory) if isinstance(self.factory, str) else self.factory
            return factory(options)

    def produces(self, options: BaseModel) -> list[str]:
        """Names of the figures that this metric yields with `options`."""
        return self._names("produces", options)

    def needs(self, options: BaseModel) -> list[str]:
        """Names of the metrics that this gate reads with `options`; empty when it did not say."""
        return self._names("needs", options) if "needs" in self.extra else []

    def reach(self, options: BaseModel, size: tuple[int, int]) -> tuple[float, float] | None:
        """The lowest and highest target that this model can answer at (height, width); None where it did not say."""
        if "reach" not in self.extra:
            return None
        with guarded(f"{self} failed in `reach`"):
            low, high = self.extra["reach"](options, size)
            return float(low), float(high)

    def weights_file(self, weights: str) -> Path:
        """The file behind a recipe's `model.weights`, which is a path or "builtin:name".

        Raises KeyError for a built-in name that the model does not ship; a loaded recipe has none.
        """
        if weights.startswith(BUILTIN_WEIGHTS):
            return Path(self.extra["weights"][weights.removeprefix(BUILTIN_WEIGHTS)])
        return Path(weights)

    def _names(self, key: str, options: BaseModel) -> list[str]:
        with guarded(f"{self} failed in `{key}`"):
            names = list(self.extra[key](options))
        if not all(isinstance(name, str) for name in names):
            raise PluginError(f"{self}: `{key}` gave {names!r}; expected a list of names")
        return names


@dataclass(frozen=True)
class Command:
    """A command that a plugin brings to the command line, and who brought it.

    line: what stands beside its name in `engine --help`. command: a function whose parameters typer reads, or a typer
    app with commands of its own.
    """

    name: str
    line: str
    command: str | Callable[..., Any]
    plugin: str
    distribution: str

    def __str__(self) -> str:
        return f"command {self.name!r} of plugin {self.plugin!r}"

    def imported(self) -> Callable[..., Any]:
        """The function or the app; PluginError when it cannot be imported."""
        with guarded(f"{self} could not be imported"):
            found: Callable[..., Any] = (
                pkgutil.resolve_name(self.command) if isinstance(self.command, str) else self.command
            )
            return found


def check_command(command: Command) -> None:
    """Refuse a command that nobody could call, while the plugin that brought it can still be named."""
    label = f"register({command.name!r}, ...)"
    if not isinstance(command.name, str) or not _COMMAND.fullmatch(command.name):
        raise PluginError(f"{label}: a command's name is small letters, digits and '-'")
    if command.name in COMMANDS:
        raise PluginError(f"{label}: the engine has a command of that name itself; give yours another one")
    if not isinstance(command.line, str) or not command.line.strip() or "\n" in command.line:
        raise PluginError(f"{label}: the second argument is the line beside the name in `engine --help`, a text")
    if isinstance(command.command, str):
        if not _FACTORY.fullmatch(command.command):
            raise PluginError(f"{label}: the command {command.command!r} is not of the form 'package.module:attribute'")
    elif not callable(command.command):
        raise PluginError(f"{label}: the command must be a function, a typer app or 'package.module:attribute'")


def check(thing: Registered) -> None:
    """Refuse a registration that could not work later, while the plugin that made it can still be named."""
    label = f"register({thing.name!r}, ...)"
    if not isinstance(thing.name, str) or not thing.name:
        raise PluginError(f"{label}: the name must be a text that is not empty")
    if not (isinstance(thing.options, type) and issubclass(thing.options, BaseModel)):
        what = f"the class {thing.options.__name__!r}" if isinstance(thing.options, type) else repr(thing.options)
        raise PluginError(f"{label}: options must be a class derived from pydantic.BaseModel, not {what}")
    taken = sorted(RESERVED[thing.kind] & thing.options.model_fields.keys())
    if taken:
        raise PluginError(f"{label}: the engine reads {', '.join(taken)} itself; give that option another name")
    if isinstance(thing.factory, str):
        if not _FACTORY.fullmatch(thing.factory):
            raise PluginError(f"{label}: the factory {thing.factory!r} is not of the form 'package.module:attribute'")
    elif not callable(thing.factory):
        raise PluginError(f"{label}: the factory must be callable or 'package.module:attribute'")
    _check_extra(label, thing)


def _check_extra(label: str, thing: Registered) -> None:
    known = EXTRAS[thing.kind]
    for key in thing.extra.keys() - set(known):
        near = nearest(key, known, count=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        article = "an" if SINGULAR[thing.kind][0] in "aeiou" else "a"
        raise PluginError(f"{label}: {article} {SINGULAR[thing.kind]} takes no {key!r}{hint}")
    if thing.kind == "models":
        target = thing.extra.get("target")
        if not isinstance(target, str) or not target:
            raise PluginError(f"{label}: a model needs target=, the batch field that it learns")
        weights = thing.extra.get("weights", {})
        if not isinstance(weights, Mapping) or not all(isinstance(file, str | Path) for file in weights.values()):
            raise PluginError(f"{label}: weights must map names to files")
        if "reach" in thing.extra and not callable(thing.extra["reach"]):
            raise PluginError(f"{label}: reach must be a function from options and (height, width) to a range")
    if thing.kind == "inputs":
        exports = thing.extra.get("exports")
        if isinstance(exports, str) or not exports or not all(isinstance(name, str) for name in exports):
            raise PluginError(f"{label}: a reader of inputs needs exports=, what is written such as ('maps',)")
    if thing.kind == "datasets" and "files" in thing.extra:
        files = thing.extra["files"]
        if isinstance(files, str) or not all(isinstance(end, str) and end.startswith(".") for end in files):
            raise PluginError(f"{label}: files must be suffixes such as ('.csv',)")
    if thing.kind == "metrics" and not callable(thing.extra.get("produces")):
        raise PluginError(f"{label}: a metric needs produces=, a function from options to the names it yields")
    if thing.kind == "gates" and "needs" in thing.extra and not callable(thing.extra["needs"]):
        raise PluginError(f"{label}: needs must be a function from options to names of metrics")
    if not isinstance(thing.extra.get("feasibility", False), bool):
        raise PluginError(f"{label}: feasibility says whether `engine check-feasibility` asks this gate: True or False")

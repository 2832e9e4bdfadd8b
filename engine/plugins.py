"""Find plugins, load them, and keep what they register by kind and name.

A plugin reaches the engine by an entry point of the group "engine" or as a file that a recipe names. Both go through
the same door; they differ in what a failure means. A broken entry point is a line in `Plugins.broken`, because the user
may not need that plugin today. A broken file is the user's input, because the recipe asks for it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy
from pydantic import BaseModel

from engine import api, hookspecs
from engine.accounting import Account
from engine.errors import EngineError, InputError, PluginError, Problem, nearest
from engine.registered import PACKAGES, SINGULAR, Command, Kind, Registered, check, check_command, guarded

if TYPE_CHECKING:
    from engine import events

HOOK_OF_EVENT: Mapping[str, str] = {
    "RunStarted": "engine_run_started",
    "StageStarted": "engine_stage_started",
    "StageFrozen": "engine_stage_frozen",
    "Step": "engine_step",
    "Evaluated": "engine_evaluated",
    "GateDecided": "engine_gate_decided",
    "CheckpointSaved": "engine_checkpoint_saved",
    "StageFinished": "engine_stage_finished",
    "RunFinished": "engine_run_finished",
    "Note": "engine_note",
}
"""By the name of the event's class, so that commands in which nothing happens do not import them."""

HOOKS = [name for name in vars(hookspecs) if name.startswith("engine_")]

MARK = f"{hookspecs.PROJECT}_impl"
"""The attribute by which @hookimpl marks a function."""

TRACE = "ENGINE_PLUGIN_TRACE"
"""Set to 1, this variable has every call of a hook told on standard error."""

GROUP = "engine"
OWN_DISTRIBUTION = "experiment-engine"
BUILTINS: Mapping[str, str] = {"engine": "engine.gates.plugin", "engine.data": "engine.data.plugin"}
"""The plugins that the engine brings itself, by name."""

SLOW_SHARE = 0.05
"""A plugin whose hooks take more than this share of a run is named in a warning: about what a user would notice."""
SLOW_SECONDS = 1.0
"""Less than this is not worth a warning, whatever the share: in a run of seconds an import is 5 % of it."""


@dataclass(frozen=True)
class Loaded:
    """A plugin that is at work: where it comes from, and the hooks that it implements."""

    name: str
    distribution: str
    hooks: Sequence[str]


class Plugins:
    """The plugins of this process and what they registered; `broken` has one line for each that could not be used.

    account: the time that every listener took.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._registered: dict[Kind, dict[str, Registered]] = {kind: {} for kind in SINGULAR}
        self._commands: dict[str, Command] = {}
        self.broken: list[str] = []
        self.account = Account()
        self._own: set[str] = set()
        self._loaded: dict[str, Loaded] = {}
        self._traced = os.environ.get(TRACE, "0") not in ("", "0")

    def get(self, kind: Kind, name: str) -> Registered:
        """What is registered as `name`; raises InputError with the nearest names when nothing is."""
        found = self.find(kind, name)
        if found is None:
            raise InputError(self.unknown("", kind, name), advice="\n".join(self.broken))
        return found

    def find(self, kind: Kind, name: str) -> Registered | None:
        """What is registered as `name`, or None."""
        return self._registered[kind].get(name)

    def names(self, kind: Kind) -> list[str]:
        """The registered names of one kind, sorted."""
        return sorted(self._registered[kind])

    def commands(self) -> list[Command]:
        """The commands that plugins bring to the command line, by name."""
        return [self._commands[name] for name in sorted(self._commands)]

    def loaded(self) -> list[Loaded]:
        """The plugins at work, in the order in which they were loaded."""
        return list(self._loaded.values())

    def unknown(self, where: str, kind: Kind, name: str) -> Problem:
        """The problem to report at `where` when `name` is not registered."""
        known = self.names(kind)
        near = nearest(name, known)
        expected = "" if near else f"one of {', '.join(known)}" if known else "a plugin that brings one"
        return Problem(where, f"no plugin brings the {SINGULAR[kind]} {name!r}", expected, near)

    def register_object(self, plugin: object, name: str) -> None:
        """Add the engine's own listener (console, event log); its hooks are checked like a plugin's."""
        self._manager.register(plugin, name=name)
        mistakes = self._mistakes(name)
        if mistakes:
            self._manager.unregister(name=name)
            raise PluginError(f"plugin {name!r}: {'; '.join(mistakes)}")
        self._own.add(name)

    @contextmanager
    def listening(self, plugin: object, name: str) -> Iterator[None]:
        """Have the engine's own listener hear what happens in the body; afterwards it and all times are forgotten."""
        self.register_object(plugin, name)
        try:
            yield
        finally:
            self._manager.unregister(name=name)
            self._own.discard(name)
            self.account = Account()

    def watch(self, wrap: Callable[[Registered, Callable[[], Any]], Any]) -> None:
        """Let every object be built by `wrap` from now on, which is given what is registered and what builds it."""

        def watched(thing: Registered, options: BaseModel) -> Any:
            return wrap(thing, partial(thing.build, options))

        for things in self._registered.values():
            for name, thing in things.items():
                things[name] = replace(thing, factory=partial(watched, thing))

    def emit(self, event: object) -> None:
        """Tell every listener about `event`, the last registered first, as pluggy does.

        All of them hear of it, even where one raises; then the first PluginError, naming plugin and hook, is raised. A
        KeyboardInterrupt passes.
        """
        failures: list[EngineError] = []
        for each in [*self._slow_listeners(event), event]:
            hook = HOOK_OF_EVENT[type(each).__name__]
            for listener in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
                self.account.begin(listener.plugin_name, hook)
                try:
                    with guarded(f"plugin {listener.plugin_name!r} failed in {hook}"):
                        # pluggy lets an implementation leave out arguments that it does not need
                        listener.function(*[each] * len(listener.argnames))
                except EngineError as error:
                    failures.append(error)
                finally:
                    self.account.end()
                    self._tell(hook, listener.plugin_name)
        if failures:
            raise failures[0]

    def spent(self) -> dict[str, dict[str, float]]:
        """Seconds by plugin and lifecycle hook, of the hooks that were called; the engine's own listeners left out."""
        spent: dict[str, dict[str, float]] = {}
        for (plugin, hook), cost in self.account.costs.items():
            if hook in HOOK_OF_EVENT.values() and plugin not in self._own:
                spent.setdefault(plugin, {})[hook] = cost.seconds
        return spent

    def _slow_listeners(self, event: object) -> Iterator[events.Note]:
        """At the end of a run, a warning for each plugin whose hooks took much of it."""
        from engine import events

        if not isinstance(event, events.RunFinished):
            return
        for plugin, hooks in self.spent().items():
            seconds = sum(hooks.values())
            if seconds > max(SLOW_SHARE * event.seconds, SLOW_SECONDS):
                text = (
                    f"plugin {plugin!r} took {seconds:.1f} s in its hooks, {seconds / event.seconds:.0%} of the run, "
                    f"most of it in {max(hooks, key=lambda hook: hooks[hook])}; "
                    "`engine run RECIPE --profile-plugins` shows what every plugin takes"
                )
                yield events.Note("warning", text, {"plugin": plugin, "seconds": seconds, "hooks": hooks})

    def add_path(self, path: Path) -> list[str]:
        """Load the file that a recipe names; returns what is wrong with it, one sentence each."""
        if path.suffix != ".py":
            return [f"{path} is not a Python file; a plugin file ends in .py"]
        if not path.is_file():
            return [f"there is no plugin file {path}"]
        if self._manager.has_plugin(str(path)):
            return []
        reasons = self._add(str(path), str(path), lambda: _import_file(path))
        return [f"the plugin {path.name} could not be loaded: {reason}" for reason in reasons]

    def add_installed(self, name: str, distribution: str, load: Callable[[], object]) -> None:
        """Load one installed plugin; what is wrong with it goes to `broken`."""
        for reason in self._add(name, distribution, load):
            self.broken.append(f"plugin {name!r} ({distribution}) could not be loaded: {reason}")

    def _add(self, name: str, distribution: str, load: Callable[[], object]) -> list[str]:
        """Load, check and ask one plugin for what it brings; a plugin that fails leaves nothing behind."""
        brought: list[Registered | Command] = []
        try:
            with guarded("it could not be imported"):
                module = load()
            with guarded("it could not be registered"):
                _check_version(module)
                _check_arguments(module)
                self._manager.register(module, name=name)
            mistakes = self._mistakes(name)
            if not mistakes:
                for kind in SINGULAR:
                    brought += self._brought(kind, name, distribution)
                brought += self._brought_commands(name, distribution)
        except EngineError as error:
            mistakes = [str(error)]
        if mistakes:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            return mistakes
        callers = self._manager.get_hookcallers(self._manager.get_plugin(name)) or []
        self._loaded[name] = Loaded(name, distribution, sorted(caller.name for caller in callers))
        return [reason for thing in brought if (reason := self._keep(thing))]

    def _mistakes(self, name: str) -> list[str]:
        """Hooks of a registered plugin that would never be called, or that the engine does not call."""
        plugin = self._manager.get_plugin(name)
        mistakes = []
        for hook in self._manager.get_hookcallers(plugin) or []:
            implementation = next(impl for impl in hook.get_hookimpls() if impl.plugin is plugin)
            if not hook.has_spec():
                near = nearest(hook.name, HOOKS, count=1)
                mistakes.append(f"there is no hook {hook.name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
            elif implementation.wrapper or implementation.hookwrapper:
                mistakes.append(f"{hook.name!r} is a hook wrapper; the engine calls plain implementations only")
        for hook_name in HOOKS:
            function = getattr(plugin, hook_name, None)
            if inspect.isroutine(function) and not hasattr(function, MARK):
                mistakes.append(f"{hook_name!r} is not marked; put @hookimpl above it")
        return mistakes

    def _brought(self, kind: Kind, plugin: str, distribution: str) -> list[Registered]:
        brought: list[Registered] = []

        def register(name: str, options: type[BaseModel], factory: str | Callable[[Any], Any], **extra: Any) -> None:
            thing = Registered(kind, name, options, factory, plugin, distribution, extra)
            check(thing)
            brought.append(thing)

        self._ask(f"engine_{kind}", plugin, register, brought)
        return brought

    def _brought_commands(self, plugin: str, distribution: str) -> list[Command]:
        brought: list[Command] = []

        def register(name: str, line: str, command: str | Callable[..., Any]) -> None:
            check_command(Command(name, line, command, plugin, distribution))
            brought.append(Command(name, line, command, plugin, distribution))

        self._ask("engine_commands", plugin, register, brought)
        return brought

    def _ask(
        self, hook: str, plugin: str, register: Callable[..., None], brought: Sequence[Registered | Command]
    ) -> None:
        """Have a plugin register what it brings; PluginError naming the hook for what it raises."""
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin_name == plugin:
                with guarded(f"{hook} failed"):
                    implementation.function(*[register] * len(implementation.argnames))
                self._tell(hook, plugin, f" -> {', '.join(thing.name for thing in brought)}")

    def _tell(self, hook: str, plugin: str, what: str = "") -> None:
        if self._traced:
            print(f"{hook} of plugin {plugin!r}{what}", file=sys.stderr)

    def _keep(self, thing: Registered | Command) -> str:
        """Add `thing`; a name that is taken stays with the plugin that came first, and the reason is returned."""
        first: Registered | Command
        if isinstance(thing, Command):
            what, first = "command", self._commands.setdefault(thing.name, thing)
        else:
            what, first = SINGULAR[thing.kind], self._registered[thing.kind].setdefault(thing.name, thing)
        return (
            ""
            if first is thing
            else f"plugin {thing.plugin!r} brings {what} {thing.name!r}, which is already the {first}"
        )


def load(extra: Sequence[Path] = ()) -> Plugins:
    """Load what the engine brings, every installed plugin, then the files `extra`.

    Raises InputError with everything that is wrong with a file of `extra`.
    """
    plugins = Plugins()
    for name, module in BUILTINS.items():
        plugins.add_installed(name, OWN_DISTRIBUTION, partial(importlib.import_module, module))
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=_own_first):
        PACKAGES.add(re.split(r"\W", entry.value, maxsplit=1)[0])  # `entry.module` raises for one that is malformed
        plugins.add_installed(entry.name, _distribution(entry.dist) or "unknown distribution", entry.load)
    problems = [Problem(str(path), reason) for path in extra for reason in plugins.add_path(path)]
    if problems:
        raise InputError(problems)
    return plugins


def module_name(path: Path) -> str:
    """The name under which a plugin file is imported: the same for the same file with the same content."""
    resolved = path.resolve()
    digest = hashlib.sha256(os.fsencode(resolved) + b"\0" + resolved.read_bytes()).hexdigest()[:12]
    return f"engine_path_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"


def _own_first(entry: importlib.metadata.EntryPoint) -> tuple[bool, str, str]:
    """Sort key: what the engine ships keeps its names against any other distribution; then the order is by name."""
    distribution = _distribution(entry.dist)
    return distribution.partition(" ")[0] != OWN_DISTRIBUTION, entry.name, distribution


@cache
def _distribution(of: importlib.metadata.Distribution | None) -> str:
    """Name and version, empty for none; kept because each of the two reads and parses a file again."""
    if of is None:
        return ""
    about = of.metadata
    return f"{about['Name']} {about['Version']}"


def _import_file(path: Path) -> ModuleType:
    name = module_name(path)
    if name in sys.modules:
        # A second load must give the same classes, or objects pickled for the workers would not be recognised.
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    PACKAGES.add(name)
    sys.modules[name] = module  # before it runs: dataclasses and pickle look their module up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # a half-run module must not be found by the next load
        raise
    return module


def _check_version(module: object) -> None:
    """Refuse a plugin that says of itself that it is made for another version of the public API."""
    made_for = getattr(module, api.DECLARATION, api.VERSION)
    if not isinstance(made_for, int) or isinstance(made_for, bool):
        raise PluginError(f"{api.DECLARATION} is {made_for!r}; expected a whole number such as {api.VERSION}")
    if made_for != api.VERSION:
        cure = "a newer engine" if made_for > api.VERSION else "a version of the plugin that is made for this engine"
        raise PluginError(
            f"it is made for version {made_for} of the engine's API, and this engine has version {api.VERSION}; "
            f"install {cure}"
        )


def _check_arguments(module: object) -> None:
    """Refuse hooks that want arguments which the engine does not give; pluggy says so in three lines."""
    for hook in HOOKS:
        function = getattr(module, hook, None)
        if not inspect.isroutine(function) or not hasattr(function, MARK):
            continue
        given = list(inspect.signature(getattr(hookspecs, hook)).parameters)
        asked = [each.name for each in inspect.signature(function).parameters.values() if each.default is each.empty]
        unknown = [name for name in asked if name not in given]
        if unknown:
            takes, gives = ", ".join(map(repr, unknown)), ", ".join(map(repr, given))
            raise PluginError(f"{hook!r} takes {takes}; the engine calls it with {gives}, by that name")

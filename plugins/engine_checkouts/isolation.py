"""Run a checkout's code as if it were alone in the process, and leave nothing of it behind.

Published networks call their packages `core` or `utils`, push folders on to the path, set up logging, and import parts
of themselves only when they are built. So a checkout is imported and its network built between two states of the
process that are the same. What the network needs later it holds itself; whole objects cannot be pickled, only tensors.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.errors import WorldError

_ONE_AT_A_TIME = threading.RLock()  # what is changed here belongs to the whole process


@contextmanager
def alone(folder: Path, hubs: Sequence[Path] = (), unused: Sequence[str] = ()) -> Iterator[dict[str, ModuleType]]:
    """The checkout in `folder` comes before everything else that has its names, and is gone afterwards.

    hubs: further folders in which its packages may lie. unused: packages that it imports and never calls; those that
    are not installed are stood in for. Yields the modules of the checkout by name, filled when the block ends well.
    """
    places = [str(folder), *map(str, hubs)]
    names = {name for place in (folder, *hubs) for name in _top_names(place)}
    absent = [name for name in unused if importlib.util.find_spec(name) is None]
    own: dict[str, ModuleType] = {}
    with _ONE_AT_A_TIME, ExitStack() as undo:
        undo.enter_context(warnings.catch_warnings(action="ignore"))  # about code that its user did not write
        undo.enter_context(_modules(names | set(absent), own))
        undo.enter_context(_logging())
        undo.enter_context(_environment())
        undo.enter_context(replaced(sys, "path", [places[0], *sys.path]))
        undo.enter_context(replaced(sys, "meta_path", [_Finder(names, places, absent), *sys.meta_path]))
        undo.enter_context(replaced(sys, "dont_write_bytecode", True))  # the checkout is its user's, to the last file
        yield own


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute has another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _top_names(folder: Path) -> Iterator[str]:
    """What `import` finds in a folder."""
    for item in folder.iterdir():
        if item.suffix == ".py":
            yield item.stem
        elif item.name.isidentifier() and item.is_dir() and any(item.rglob("*.py")):
            yield item.name


@contextmanager
def _modules(names: set[str], own: dict[str, ModuleType]) -> Iterator[None]:
    """The modules under these top-level names are others meanwhile; `own` is given them at the end."""

    def taken() -> list[str]:
        # of a copy: a tracker's thread may import its own meanwhile
        return [name for name in list(sys.modules) if name.partition(".")[0] in names]

    before = {name: sys.modules.pop(name) for name in taken()}
    try:
        yield
    finally:
        own.update({name: sys.modules.pop(name) for name in taken()})
        sys.modules.update(before)
        importlib.invalidate_caches()


@contextmanager
def _logging() -> Iterator[None]:
    """Handlers, level and classes of the root logger stay, whatever is reloaded or configured."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with replaced(importlib, "reload", lambda module: module), replaced(logging, "basicConfig", lambda **_: None):
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)


@contextmanager
def _environment() -> Iterator[None]:
    """The variables of the process stay; meanwhile xformers, which fails on tensors of a CPU, is off without a GPU."""
    import torch

    before = dict(os.environ)
    if not torch.cuda.is_available():
        os.environ["XFORMERS_DISABLED"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class _Finder:
    """Finds the checkout's own modules, and stands in for absent ones, before anything else is asked."""

    def __init__(self, names: set[str], places: Sequence[str], absent: Sequence[str]) -> None:
        self.names, self.places, self.absent = names, places, absent

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Where a module is; None leaves it to the other finders."""
        if name.partition(".")[0] in self.absent:
            return ModuleSpec(name, _StandInLoader(), is_package=True)
        return PathFinder.find_spec(name, list(self.places)) if path is None and name in self.names else None


class _StandInLoader:
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _StandIn(ModuleType):
    """A module that is imported and never used; whatever is taken from it says so when it is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python itself asks for these, and takes an answer at its word
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")


class _Absent:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> _Absent:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self._name}.{name}")

    def __call__(self, *_: Any, **__: Any) -> Any:
        package = self._name.partition(".")[0]
        raise WorldError(f"the checkout calls {self._name}, and the package {package!r} is not installed")

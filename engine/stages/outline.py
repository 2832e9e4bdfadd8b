"""The names in a recipe's system, kept from one command to the next, so that `engine check` need not build it.

An outline is found by the options and the code of the model and the injection; change one and there is another. What
plugins import from outside of their own package is not seen: where a kept outline finds a mistake, and before every
run, the modules themselves are asked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.data.cache import cache_directory
from engine.errors import WorldError
from engine.files import read_json, write_json
from engine.globs import Named
from engine.plugins import Registered
from engine.recipe.schema import Recipe

FORMAT = 1
"""Raise it with any change to `engine.system` that gives modules other names."""


@dataclass(frozen=True)
class Outline:
    """The names of a system's modules, parameters and buffers, in its order."""

    modules: Sequence[str]
    parameters: Sequence[str]
    buffers: Sequence[str]

    def named_modules(self) -> Iterator[tuple[str, None]]:
        """As of a module, without it."""
        return _alone(self.modules)

    def named_parameters(self) -> Iterator[tuple[str, None]]:
        """As of a module, without them."""
        return _alone(self.parameters)

    def named_buffers(self) -> Iterator[tuple[str, None]]:
        """As of a module, without them."""
        return _alone(self.buffers)


def outline_of(system: Named) -> Outline:
    """The outline of a system that is built."""
    tensors = (system.named_modules(), system.named_parameters(), system.named_buffers())
    return Outline(*([name for name, _ in named] for named in tensors))


def kept(recipe: Recipe) -> Outline | None:
    """The outline that was kept of the recipe's system; None where there is none that can be read."""
    try:
        return Outline(**read_json(_path(recipe), modules=list, parameters=list, buffers=list))
    except (WorldError, TypeError):  # TypeError: further keys
        return None


def keep(recipe: Recipe, system: Named) -> None:
    """Keep the outline of the recipe's system; a cache that takes no file costs only time."""
    with suppress(WorldError):
        write_json(_path(recipe), asdict(outline_of(system)))


def code_of(registered: Registered) -> list[str]:
    """Which plugin, of which version, and the digest of its Python files: a version does not change with every edit.

    The files are those of the top package of the plugin's options; what it imports from elsewhere is not seen.
    """
    name = registered.options.__module__
    module = sys.modules[name]
    file, is_package = Path(str(module.__file__)), hasattr(module, "__path__")
    # Levels above the file at which the top package lies; a folder of its name elsewhere on the path is another thing.
    up = name.count(".") - 1 + is_package
    files = [file] if up < 0 else sorted(file.parents[up].rglob("*.py"))
    sha = hashlib.sha256()
    for file in files:
        sha.update(hashlib.sha256(file.read_bytes()).digest())
    return [registered.plugin, registered.distribution, sha.hexdigest()]


def _alone(names: Iterable[str]) -> Iterator[tuple[str, None]]:
    return ((name, None) for name in names)


def _torch() -> str:
    """What torch says of its version, read from its file."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None, "torch is a dependency"
    assert spec.origin is not None, "torch is a package with a file"
    return Path(spec.origin).with_name("version.py").read_text()


def _path(recipe: Recipe) -> Path:
    get, resolved = recipe.registry.get, recipe.resolved()
    of = [FORMAT, _torch(), code_of(get("models", recipe.model.plugin))]
    of.append({key: value for key, value in resolved["model"].items() if key != "weights"})
    if recipe.injection is not None:
        of += [resolved["injection"], code_of(get("injections", recipe.injection.plugin))]
    key = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
    return cache_directory("outlines") / f"{recipe.model.plugin}-{key[:16]}.json"

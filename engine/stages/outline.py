"""The names in a recipe's system, kept from one command to the next, so that `engine check` need not build it.

An outline is found by the options and the code of the model and the injection; change one and there is another. What
plugins import from outside of their own package is not seen: where a kept outline finds a mistake, and before every
run, the modules themselves are asked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.code_digest import code_of
from engine.data.cache import cache_directory
from engine.errors import WorldError
from engine.files import read_json, write_json
from engine.globs import Named
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

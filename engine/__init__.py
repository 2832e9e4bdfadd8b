"""Train a base network and the auxiliary module that corrects it, in stages declared as data.

As a library: `load_recipe` gives what all others take (docs/library.md). They are imported when they are first asked
for, so that `import engine` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.version import __version__

if TYPE_CHECKING:
    from engine.library import check_feasibility, evaluate, load_recipe, load_system, plan, read_weights, run, samples

__all__ = [
    "__version__",
    "check_feasibility",
    "evaluate",
    "load_recipe",
    "load_system",
    "plan",
    "read_weights",
    "run",
    "samples",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("engine.library"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

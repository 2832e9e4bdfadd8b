"""The scripts of benchmarks/, which are run by their file names and import each other so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Imported = Callable[..., SimpleNamespace]


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Imported]:
    """imported("step", "measure", ...): scripts of a folder by name; such short names stay for no other test."""

    def load(folder: str, *names: str) -> SimpleNamespace:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        monkeypatch.syspath_prepend(str(BENCHMARKS / folder))
        return SimpleNamespace(**{name: import_module(name) for name in names})

    yield load
    for name, module in list(sys.modules.items()):
        if BENCHMARKS in Path(getattr(module, "__file__", None) or "").parents:
            del sys.modules[name]

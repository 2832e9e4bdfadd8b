"""Registers the engine's own data sets."""

from __future__ import annotations

from engine.data.options import MixOptions
from engine.hookspecs import Register, hookimpl


@hookimpl
def engine_datasets(register: Register) -> None:
    """Bring `mix`."""
    register("mix", MixOptions, "engine.data.mix:Mix")

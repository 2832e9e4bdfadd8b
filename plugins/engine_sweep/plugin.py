"""What this package brings to the engine: one command, which is imported when it is called."""

from __future__ import annotations

from engine.hookspecs import Register, hookimpl


@hookimpl
def engine_commands(register: Register) -> None:
    """The sweep."""
    register("sweep", "Search for the best values of a recipe's keys.", "engine_sweep.command:sweep")

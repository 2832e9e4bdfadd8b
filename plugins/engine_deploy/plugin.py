"""What this package brings to the engine: commands, which are imported when one of them is called."""

from __future__ import annotations

from engine.hookspecs import Register, hookimpl


@hookimpl
def engine_commands(register: Register) -> None:
    """`engine deploy` and its own commands."""
    register(
        "deploy",
        "Take what was trained elsewhere: ONNX, smaller weights, and their cost.",
        "engine_deploy.commands:app",
    )

"""What this package brings to the engine; OpenCV is imported when the model is built, not before."""

from __future__ import annotations

from engine.hookspecs import Register, hookimpl
from engine_sgbm.options import SGBMOptions


@hookimpl
def engine_models(register: Register) -> None:
    """Semi-global block matching: a base without parameters."""
    register("sgbm", SGBMOptions, "engine_sgbm.matcher:SGBM", target="disparity", reach=SGBMOptions.reach)

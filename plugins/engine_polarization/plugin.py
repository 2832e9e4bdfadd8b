"""What this plugin brings to the engine; nothing heavy is imported before it is built."""

from __future__ import annotations

from engine.hookspecs import Register, hookimpl
from engine_polarization import options


@hookimpl
def engine_injections(register: Register) -> None:
    """The bounded correction from polarisation."""
    register("polarization", options.CorrectionOptions, "engine_polarization.correction:PolarizationCorrection")

"""Registers the built-in gates."""

from __future__ import annotations

from engine.gates.options import FeasibilityOptions, ThresholdOptions
from engine.hookspecs import Register, hookimpl


def _threshold_metrics(options: ThresholdOptions) -> list[str]:
    return [options.metric]


@hookimpl
def engine_gates(register: Register) -> None:
    """Bring `feasibility` and `threshold`."""
    register("feasibility", FeasibilityOptions, "engine.gates.gate:FeasibilityGate", feasibility=True)
    register("threshold", ThresholdOptions, "engine.gates.threshold:ThresholdGate", needs=_threshold_metrics)

"""What this package brings to the engine; imports nothing heavy, as it is read before every command."""

from __future__ import annotations

from pathlib import Path

from engine.hookspecs import Register, hookimpl
from engine_s2m2.options import ConfidenceOptions, DisparityOptions, PMCOptions, S2M2Options, VisibilityOptions

WEIGHTS = Path(__file__).parent / "weights"


@hookimpl
def engine_models(register: Register) -> None:
    """The network in five sizes, and the weights of the smallest."""
    register(
        "s2m2",
        S2M2Options,
        "engine_s2m2.network:build",
        target="disparity",
        weights={"nano-opaque": WEIGHTS / "nano_opaque.safetensors"},
    )


@hookimpl
def engine_losses(register: Register) -> None:
    """The four terms of the network's own training objective."""
    register("s2m2_pmc", PMCOptions, "engine_s2m2.losses:PMCLoss")
    register("s2m2_disparity", DisparityOptions, "engine_s2m2.losses:DisparityLoss")
    register("s2m2_visibility", VisibilityOptions, "engine_s2m2.losses:VisibilityLoss")
    register("s2m2_confidence", ConfidenceOptions, "engine_s2m2.losses:ConfidenceLoss")

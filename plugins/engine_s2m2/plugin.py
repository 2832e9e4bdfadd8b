"""What this package brings to the engine; imports nothing heavy, as it is read before every command."""

from __future__ import annotations

from pathlib import Path

from engine.hookspecs import Register, hookimpl
from engine_s2m2.options import ConfidenceOptions, DisparityOptions, PMCOptions, S2M2Options, VisibilityOptions

WEIGHTS = Path(__file__).parent / "weights"


def _reach(options: S2M2Options, size: tuple[int, int]) -> tuple[float, float]:
    """Every column is matched with every other: disparities up to the picture's width, below 0 only where allowed."""
    return (0.0 if options.use_positivity else -float(size[1])), float(size[1])


@hookimpl
def engine_models(register: Register) -> None:
    """The network in five sizes, and the weights of the smallest."""
    register(
        "s2m2",
        S2M2Options,
        "engine_s2m2.network:build",
        target="disparity",
        weights={"nano-opaque": WEIGHTS / "nano_opaque.safetensors"},
        reach=_reach,
    )


@hookimpl
def engine_losses(register: Register) -> None:
    """The four terms of the network's own training objective."""
    register("s2m2_pmc", PMCOptions, "engine_s2m2.losses:PMCLoss")
    register("s2m2_disparity", DisparityOptions, "engine_s2m2.losses:DisparityLoss")
    register("s2m2_visibility", VisibilityOptions, "engine_s2m2.losses:VisibilityLoss")
    register("s2m2_confidence", ConfidenceOptions, "engine_s2m2.losses:ConfidenceLoss")

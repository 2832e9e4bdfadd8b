"""What this package brings to the engine; torch and the checkout are imported when a model is built, not before."""

from __future__ import annotations

from engine.hookspecs import Register, hookimpl
from engine_checkouts.options import CheckoutOptions, DistillationOptions


def _reach(options: CheckoutOptions, size: tuple[int, int]) -> tuple[float, float]:
    """Up to max_disp where a network has one, else up to the picture's width."""
    from engine_checkouts.arguments import arguments
    from engine_checkouts.presets import PRESETS

    return 0.0, float(arguments(PRESETS[options.preset], options).get("max_disp", size[1]))


@hookimpl
def engine_models(register: Register) -> None:
    """A network from its authors' checkout: FoundationStereo or RAFT-Stereo."""
    register("checkout", CheckoutOptions, "engine_checkouts.network:build", target="disparity", reach=_reach)


@hookimpl
def engine_losses(register: Register) -> None:
    """What another network from a checkout says."""
    register("distillation", DistillationOptions, "engine_checkouts.distillation:Distillation")


@hookimpl
def engine_commands(register: Register) -> None:
    """`engine ship`."""
    register("ship", "Write what a checkout learnt as its authors' scripts read it.", "engine_checkouts.ship:command")

"""Learning-rate schedules as pure functions of the step, so that resuming needs no state."""

from __future__ import annotations

import math

from engine.recipe.schema import Schedule

FALL = 0.8
"""The share of the steps after which "step" falls (Wen et al. 2025)."""


def factor(step: int, steps: int, schedule: Schedule) -> float:
    """The share of the peak learning rate at `step` of `steps`, in [0, 1].

    Warm-up rises linearly over the first `warmup` share of the steps. Then: constant stays at 1; cosine falls to
    `final`; step falls to it at once, after four fifths of the steps; one-cycle warms up from 1/25 along a cosine
    instead of a line and falls to `final` (Smith and Topin 2018, in the two-phase form).
    """
    rise = schedule.warmup * steps
    if step < rise:
        done = (step + 1) / (rise + 1)
        if schedule.name == "one-cycle":
            return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * done)) / 2
        return done
    if schedule.name == "constant":
        return 1.0
    if schedule.name == "step":
        return schedule.final if step >= FALL * steps else 1.0
    done = (step - rise) / max(steps - rise, 1)
    return schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * done)) / 2

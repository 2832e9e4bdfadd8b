"""`cache = "auto"` caches where that makes the stage shorter and there is room, and says why."""

from __future__ import annotations

import pytest

from engine.stages.cache_choice import Costs, choose

COSTS = Costs(recompute=0.1, write=0.02, read=0.01, size=1_000_000)


def test_a_stage_that_draws_samples_often_caches_them() -> None:
    choice = choose(COSTS, samples=100, draws=1000, free=10**12)
    assert choice.on
    assert choice.why == (
        "the base answers in 100.00 ms a sample and a store in 10.00 ms: 1000 draws save 90.0 s, filling the store "
        "takes 12.0 s, which has paid after 1.3 epochs"
    )
    assert choice.figures["bytes"] == 100_000_000


@pytest.mark.parametrize(
    ("costs", "draws", "free", "why"),
    [
        (COSTS, 100, 10**12, "100 draws save 9.0 s, filling the store takes 12.0 s"),
        (Costs(0.01, 0.02, 0.05, 1000), 10**6, 10**12, "save -40000.0 s"),
        (COSTS, 1000, 10**7, "0.10 GB are needed and 0.01 GB are free"),
        (Costs(0.1, 0.02, 0.01, 10**9), 1000, 10**13, "100.00 GB would pass the 50.00 GB of ENGINE_CACHE_GB"),
    ],
    ids=["one epoch", "slow disk", "full disk", "limit"],
)
def test_otherwise_the_base_runs_in_every_step(costs: Costs, draws: int, free: int, why: str) -> None:
    choice = choose(costs, samples=100, draws=draws, free=free)
    assert not choice.on
    assert why in choice.why

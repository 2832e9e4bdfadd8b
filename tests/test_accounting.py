"""What a plugin's code costs is charged to it once, and to nobody else."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from engine.accounting import Account


class World:
    """A clock and a memory that stand still until work is done."""

    def __init__(self) -> None:
        self.now, self.held, self.settled = 0.0, 0, 0
        self.account = Account(lambda: self.held, self.settle, lambda: self.now)

    def settle(self) -> None:
        self.settled += 1

    def work(self, seconds: float, grows: int = 0) -> None:
        self.now += seconds
        self.held += grows

    def costs(self) -> dict[tuple[str, str], tuple[object, ...]]:
        return {key: astuple(cost) for key, cost in self.account.costs.items()}


def test_calls_add_up_and_the_first_ones_growth_is_told_apart() -> None:
    world = World()
    for grows in (100, 7, -3):
        with world.account.measuring("p", "hook"):
            world.work(2.0, grows)
        world.work(5.0, 11)  # nobody's
    assert world.costs() == {("p", "hook"): (3, 6.0, 104, 100)}


def test_what_happens_inside_counts_there_alone() -> None:
    world = World()
    with world.account.measuring("p", "gate"):
        world.work(1.0, 10)
        for _ in range(2):
            with world.account.measuring("q", "model"):
                world.work(3.0, 5)
                with world.account.measuring("p", "data"):
                    world.work(0.5, 1)
        world.work(0.25)
    assert world.costs() == {
        ("p", "gate"): (1, 1.25, 10, 10),
        ("q", "model"): (2, 6.0, 10, 5),
        ("p", "data"): (2, 1.0, 2, 1),
    }


def test_a_call_that_fails_is_charged_too_and_leaves_nothing_open() -> None:
    world = World()

    def fail() -> None:
        with world.account.measuring("q", "inner"):
            world.work(1.0)
            raise ValueError("broken")

    with world.account.measuring("p", "outer"):
        with pytest.raises(ValueError, match="broken"):
            fail()
        world.work(2.0)
    assert world.costs() == {("q", "inner"): (1, 1.0, 0, 0), ("p", "outer"): (1, 2.0, 0, 0)}


def test_the_device_is_waited_for_before_and_after() -> None:
    world = World()
    with world.account.measuring("p", "model"):
        assert world.settled == 1
    assert world.settled == 2

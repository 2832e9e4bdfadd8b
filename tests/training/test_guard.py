from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_world import batch, system

from engine.globs import select
from engine.recipe.schema import Optimizer
from engine.system import System
from engine.training.guard import NonFiniteGuard
from engine.training.optimizer import build_optimizer


class Trainer:
    """Steps of the optimiser under a guard, each with a loss times `factor`."""

    def __init__(self, hold: bool) -> None:
        self.system: System = system()
        self.optimizer = build_optimizer(self.system, select(self.system, ["**"], []), Optimizer(lr=0.1))
        self.guard = NonFiniteGuard(self.optimizer, hold)
        self.made = 0

    def step(self, factor: float = 1.0, norm: float = 1.0) -> None:
        loss = factor * self.system(batch()).value.square().mean()
        loss.backward()
        self.guard.watch(self.made, loss, torch.tensor(norm), shared=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.made += 1

    def state(self) -> list[torch.Tensor]:
        """Weights, both moments and the count of steps, in a fixed order."""
        moments: list[dict[str, Any]] = list(self.optimizer.state.values())
        held = [value for each in moments for value in each.values()]
        return [tensor.detach().clone() for tensor in [*self.system.parameters(), *held]]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("factor", "norm"), [(float("nan"), 1.0), (float("inf"), 1.0), (1.0, float("nan"))])
def test_a_skipped_step_leaves_weights_and_moments_bit_identical(factor: float, norm: float) -> None:
    trainer = Trainer(hold=False)
    trainer.step()
    before = trainer.state()
    trainer.step(factor, norm)
    assert same(trainer.state(), before)
    assert trainer.guard.review() == [1]


def test_after_a_skipped_step_training_goes_on_as_if_it_had_not_been() -> None:
    plain, guarded = Trainer(hold=False), Trainer(hold=False)
    for factor in (1.0, 1.0):
        plain.step(factor)
    for factor in (1.0, float("nan"), 1.0):
        guarded.step(factor)
    assert same(plain.state(), guarded.state())


def test_holding_keeps_the_weights_that_the_bad_step_saw() -> None:
    trainer = Trainer(hold=True)
    trainer.step()
    before = trainer.state()
    for factor in (float("nan"), 1.0, 1.0):
        trainer.step(factor)
    assert same(trainer.state(), before)
    assert trainer.guard.review() == [1], "the held steps themselves were finite"


def test_a_review_names_each_bad_step_once() -> None:
    trainer = Trainer(hold=False)
    assert trainer.guard.review() == []
    for factor in (float("nan"), 1.0, float("nan")):
        trainer.step(factor)
    assert trainer.guard.review() == [0, 2]
    assert trainer.guard.review() == []

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_world import batch, system

from engine.globs import select
from engine.recipe.schema import Optimizer
from engine.system import System
from engine.training.guard import BadStep, NonFiniteGuard
from engine.training.optimizer import build_optimizer


@pytest.fixture(params=["at once", "on a device"], autouse=True)
def _waits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test twice: with figures that are there at once, and with tensors that must not be waited for."""
    monkeypatch.setattr(Trainer, "waits", request.param == "at once", raising=False)


class Trainer:
    """Steps of the optimiser under a guard, each with a loss times `factor`."""

    waits: bool

    def __init__(self, hold: bool, overflows: int = 0, norm: bool = False) -> None:
        self.system: System = system(norm=norm)
        self.optimizer = build_optimizer(self.system, select(self.system, ["**"], []), Optimizer(lr=0.1))
        self.guard = NonFiniteGuard(self.optimizer, hold, overflows, list(self.system.buffers()))
        self.made = 0

    def step(self, factor: float = 1.0, norm: float = 1.0) -> None:
        self.guard.begin()
        loss = factor * self.system(batch()).value.square().mean()
        loss.backward()
        self.guard.see(loss.item() if self.waits else loss.detach())
        if self.guard.judge(self.made, norm if self.waits else torch.tensor(norm), shared=False):
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
    assert trainer.guard.review() == [BadStep(1, "gradient" if factor == 1 else "loss")]


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
    assert trainer.guard.review() == [BadStep(1, "loss")], "the held steps themselves were finite"


def test_a_review_names_each_bad_step_once() -> None:
    trainer = Trainer(hold=False)
    assert trainer.guard.review() == []
    for factor in (float("nan"), 1.0, float("nan")):
        trainer.step(factor)
    assert trainer.guard.review() == [BadStep(0, "loss"), BadStep(2, "loss")]
    assert trainer.guard.review() == []


def test_a_bad_loss_in_an_earlier_micro_batch_counts() -> None:
    trainer = Trainer(hold=False)
    wild = torch.tensor(float("nan"))
    trainer.guard.see(wild.item() if trainer.waits else wild)
    trainer.step()
    assert trainer.guard.review() == [BadStep(0, "loss")]


def test_a_few_overflows_in_a_row_are_left_out_but_not_counted_as_bad() -> None:
    trainer = Trainer(hold=True, overflows=2)
    trainer.step()
    before = trainer.state()
    trainer.step(norm=float("inf"))
    trainer.step(norm=float("inf"))
    assert same(trainer.state(), before)
    assert trainer.guard.review() == []
    trainer.step()
    assert not same(trainer.state(), before), "training goes on once the scale is found"


def test_overflows_that_do_not_end_are_bad() -> None:
    trainer = Trainer(hold=True, overflows=2)
    for _ in range(4):
        trainer.step(norm=float("inf"))
    assert trainer.guard.review() == [BadStep(2, "gradient"), BadStep(3, "gradient")]


def test_overflows_are_counted_on_after_a_resume() -> None:
    one, other = Trainer(hold=False, overflows=2), Trainer(hold=False, overflows=2)
    for _ in range(2):
        one.step(norm=float("inf"))
    other.guard.restore(one.guard.state())
    other.step(norm=float("inf"))
    assert other.guard.review() == [BadStep(0, "gradient")]


@pytest.mark.parametrize(("factor", "norm"), [(float("nan"), 1.0), (1.0, float("inf"))])
def test_a_step_that_is_left_out_leaves_the_statistics_of_norms_alone(factor: float, norm: float) -> None:
    trainer = Trainer(hold=False, norm=True)
    trainer.step()
    before = [buffer.clone() for buffer in trainer.guard.buffers]
    trainer.step(factor, norm)
    assert same(list(trainer.guard.buffers), before)
    trainer.step()
    assert not same(list(trainer.guard.buffers), before), "a good step moves them"

"""What a torch module promises, a base as well as an injection: both are checked as parts of a system."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engine.errors import InputError
from engine.globs import Selection, select
from engine.prediction import Batch, Prediction
from engine.reading import fields_of
from engine.stages import freeze
from engine.stages.proof import prove_gradients
from engine.system import System
from engine.testing.subject import Given, Subject, given, same
from engine.training.forward import autocast

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Part:
    """A module in its place in a system.

    child: the module's place; in the other is a stand-in. of: makes the system around a module of a seed. learned: the
    name of the target, told when the plugin is loaded.
    """

    subject: Subject
    batch: Given
    learned: Callable[[], str]
    child: Literal["base", "injection"]
    of: Callable[[int], System]

    @property
    def other(self) -> str:
        """The place of the stand-in."""
        return "injection" if self.child == "base" else "base"

    @cached_property
    def fields(self) -> Batch:
        """The batch of the test, which must bring the target."""
        made, target = given(self.batch), self.learned()
        if target not in made:
            self.subject.fail(f"the batch of the test has no field {target!r}, which is the target")
        return made

    def promises(self) -> list[Callable[[], None]]:
        """What every module promises."""
        return [
            self.gradients_reach_all_that_trains_and_nothing_else,
            self.it_leaves_its_batch_alone,
            self.the_same_seed_gives_the_same_weights_and_answer,
            self.its_state_makes_the_same_module_again,
            self.it_works_in_bf16,
            self.frozen_it_stays_as_it_is,
        ]

    def answer(self, system: System, batch: Batch | None = None, inject: bool | None = None) -> Prediction:
        """The system's answer with the module at work, to the test's batch or another, its shapes checked.

        inject: whether an injection is at work, by default where that is what is tested.
        """
        asked = fields_of(given(self.fields if batch is None else batch), "the batch of the test")
        corrected = self.child == "injection" if inject is None else inject
        answer: Prediction = self.subject.run("it fails", lambda: system(asked, inject=corrected))
        return answer

    def trained(self, system: System, trainable: str) -> Selection:
        """Freeze all but `trainable` as a stage does."""
        selection = select(system, [f"{trainable}.**"], [])
        freeze.apply(system, selection)
        return selection

    @property
    def learns(self) -> bool:
        """Whether it has parameters at all."""
        return any(True for _ in getattr(self.of(0), self.child).parameters())

    def gradients_reach_all_that_trains_and_nothing_else(self) -> None:
        """Every parameter has a gradient from what the module answers; frozen ones have none."""
        if not self.learns:
            return
        system = self.of(0)
        selection = self.trained(system, self.child)
        try:
            self.subject.run(
                "its gradients are refused",
                lambda: prove_gradients(system, selection, lambda: _everything(self.answer(system))),
            )
        except AssertionError as error:
            text = str(error).replace("trainable tensors receive no gradient from this stage's losses", UNREACHED)
            raise AssertionError(text) from error

    def it_leaves_its_batch_alone(self) -> None:
        """No tensor of the batch is written to."""
        system, batch = self.of(0), given(self.fields)
        self.subject.run("it fails", lambda: system(batch, inject=self.child == "injection"))
        changed = [name for name, tensor in self.fields.items() if not same(tensor, batch.get(name))]
        if changed:
            self.subject.fail(f"it writes to the batch: {', '.join(changed)}", "work on a copy: others read it too")

    def the_same_seed_gives_the_same_weights_and_answer(self) -> None:
        """Two modules made after the same `torch.manual_seed` are the same, and one answers twice the same."""
        one, other = self.of(0).eval(), self.of(0).eval()
        self._same_tensors(one.state_dict(), other.state_dict(), "two modules of one seed differ in", SEEDED)
        self._same_answer(one, other, "two modules of one seed answer differently", SEEDED)
        self._same_answer(one, one, "in evaluation mode it answers the same batch differently", "draw nothing there")

    def its_state_makes_the_same_module_again(self) -> None:
        """What `state_dict` holds, loaded into a module of another seed, gives the same answers."""
        one, other = self.of(0).eval(), self.of(1).eval()
        self.subject.run("its state cannot be loaded", lambda: _load(other, one))
        self._same_answer(one, other, "with its state loaded into another it answers differently", REGISTERED)

    def it_works_in_bf16(self) -> None:
        """Under autocast its numbers are finite, forwards and backwards."""
        system = self.of(0)
        if self.learns:
            self.trained(system, self.child)
        with autocast(CPU, "bf16"):
            answer = self.answer(system)
            total = _everything(answer)
        if self.learns:
            total.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward unannotated
        wild = [name for name, tensor in answer.tensors().items() if not _finite(tensor)]
        wild += [n for n, p in system.named_parameters() if p.grad is not None and not _finite(p.grad)]
        if wild:
            self.subject.fail(f"under bf16 autocast {', '.join(wild[:4])} is not finite", "compute it in float32")

    def frozen_it_stays_as_it_is(self) -> None:
        """Where a stage freezes it, neither parameters nor buffers change, and no gradient is made."""
        system = self.of(0)
        selection = self.trained(system, self.other)
        before = freeze.fingerprint(system, selection)
        for _ in range(2):
            answer = self.answer(system)
            if answer.value.requires_grad:
                answer.value.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward unannotated
        self.subject.run("it is frozen", lambda: freeze.prove_unchanged(before, system, selection, "of the test"))
        trains = [name for name, module in getattr(system, self.child).named_modules() if module.training]
        touched = [n for n, p in getattr(system, self.child).named_parameters() if p.grad is not None]
        if trains or touched:
            self.subject.fail(f"it is frozen, and {(trains or touched)[0] or 'itself'} trains", NOT_BY_ITSELF)

    def _same_answer(self, one: System, other: System, what: str, advice: str) -> None:
        with torch.no_grad():
            self._same_tensors(self.answer(one).tensors(), self.answer(other).tensors(), what, advice)

    def _same_tensors(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor], what: str, advice: str) -> None:
        differ = [name for name in one if not same(one[name], other.get(name))]
        if differ:
            self.subject.fail(f"{what} ({', '.join(differ[:4])})", advice)


UNREACHED = "parameters have no part in what it answers"
SEEDED = "draw from torch's generator, and from nothing else"
REGISTERED = "keep what it learns in parameters and buffers, not in plain attributes"
NOT_BY_ITSELF = "leave `train`, `eval` and `requires_grad` to the engine"


def of_target(batch: Mapping[str, Any], target: str, seed: int = 0) -> Tensor:
    """An estimate near the target: what a stand-in answers, and what losses and metrics are asked about."""
    truth = batch[target]
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
    known = torch.where(truth.isfinite(), truth, torch.zeros_like(truth))
    return known + 0.5 * noise.to(truth)


class StandInBase(nn.Module):
    """A base that answers near the target; `shift` is what could train there."""

    def __init__(self, answer: Callable[[Batch], Prediction]) -> None:
        super().__init__()
        self.answer = answer
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch) -> Prediction:
        """The answer, moved by `shift`."""
        answer = self.answer(batch)
        answer.value = answer.value + self.shift
        return answer


class StandInInjection(nn.Module):
    """An injection that adds one number, 0 at first."""

    signal: tuple[str, ...] = ()
    zero_init = True

    def __init__(self) -> None:
        super().__init__()
        self.bound = 1.0
        self.number = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        """The base's answer and the number."""
        raw = self.number.expand_as(base.value)
        return base.corrected(torch.tanh(raw), raw)


def _everything(answer: Prediction) -> Tensor:
    """One number that depends on every tensor of an answer: what no loss of a stage may be left to reach."""
    tensors = [tensor for tensor in _numbers(answer) if tensor.is_floating_point()]
    # weighted by fixed numbers: the plain sum of a softmax is constant, and its gradient 0
    return torch.stack([_weighted(tensor) for tensor in tensors]).sum()


def _numbers(answer: Prediction) -> Iterator[Tensor]:
    yield from answer.tensors().values()
    if answer.raw is not None:
        yield answer.raw


def _weighted(tensor: Tensor) -> Tensor:
    weights = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1)).to(tensor.device)
    return (tensor.float() * weights).mean()


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _load(into: nn.Module, of: nn.Module) -> None:
    try:
        into.load_state_dict(of.state_dict())
    except RuntimeError as error:
        raise InputError(str(error)) from error

"""Before the first step, one batch proves where gradients go and that a fresh injection changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.errors import DivergedError, InputError, PluginError, Problem
from engine.globs import Selection
from engine.prediction import Batch
from engine.system import System, Warp


@dataclass(frozen=True)
class GradientProof:
    """Trainable tensors whose gradient on the proof batch was exactly zero (as behind a zero-initialised layer)."""

    zero: Sequence[str]


def prove_gradients(
    system: System,
    selection: Selection,
    loss_of: Callable[[], Tensor],
    where: str = "",
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> GradientProof:
    """Run one backward pass and check that exactly the selected parameters receive finite gradients.

    `loss_of` computes the stage's loss on one batch. The system is left as it was: no gradient, buffers and random
    state restored. Raises InputError naming trainable tensors that the loss does not reach, PluginError when a frozen
    tensor receives a gradient, DivergedError when a gradient is not finite.
    """
    with _undone(system):
        backward(loss_of())
        gradients = {name: parameter.grad for name, parameter in system.named_parameters()}

    reached = {name for name, gradient in gradients.items() if gradient is not None}
    leaked = sorted(reached - selection.parameters)
    if leaked:
        raise PluginError(f"frozen tensors received a gradient: {_listed(leaked)}")
    dead = sorted(selection.parameters - reached)
    if dead:
        problem = Problem(
            where, f"{len(dead)} trainable tensors receive no gradient from this stage's losses: {_listed(dead)}"
        )
        raise InputError(problem, "freeze them by name (frozen = [...]) or add the loss that trains them")
    wild = sorted(name for name in reached if not bool(torch.isfinite(gradients[name]).all()))  # type: ignore[arg-type]  # reached: not None
    if wild:
        raise DivergedError(f"the first batch gives gradients that are not finite in {_listed(wild)}")
    return GradientProof(sorted(name for name in reached if not bool(gradients[name].any())))  # type: ignore[union-attr]  # as above


def prove_identity(system: System, batch: Batch, warp: Warp) -> None:
    """Check that a fresh injection leaves the base's output identical, bit for bit; PluginError otherwise.

    Held against what the base answered, and not against what the injection says that it was.
    """
    modes = {name: module.training for name, module in system.named_modules()}
    system.eval()
    with torch.no_grad():
        base = system(batch, warp=warp, inject=False)
        answered = base.value.clone()  # an injection may write into what it is given
        prediction = system.correct(batch, base, warp)
    for name, module in system.named_modules():
        module.training = modes[name]
    name = f"injection {type(system.injection).__name__}"
    if not torch.equal(prediction.value, answered):
        raise PluginError(
            f"{name} declares zero_init but its untrained output differs from the base's; "
            "initialise its last layer with zeros and correct the base that it is given"
        )
    if prediction.base is None or not torch.equal(prediction.base.value, answered):
        raise PluginError(
            f"{name} does not answer with the base that it was given; return base.corrected(correction, raw)"
        )


@contextmanager
def _undone(system: nn.Module) -> Iterator[None]:
    buffers = {name: buffer.clone() for name, buffer in system.named_buffers()}
    devices = [parameter.device for parameter in system.parameters() if parameter.is_cuda][:1]
    with torch.random.fork_rng(devices=devices):
        yield
    system.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in system.named_buffers():
            buffer.copy_(buffers[name])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

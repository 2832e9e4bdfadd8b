"""The moving average of the weights, which no step waits for."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from engine.system import System


class Average:
    """A copy of a system whose parameters are the exponential moving average of its own, from the first step's on.

    Buffers (a norm's statistics) are the newest. torch's own average keeps its count on the host and copies it to the
    device at each step, which waits for all that the device has been asked for.
    """

    def __init__(self, system: System, decay: float, optimizer: torch.optim.Optimizer) -> None:
        self.system = copy.deepcopy(system)
        self.decay = decay
        self.optimizer = optimizer
        self.steps: Tensor | float = 0
        """How many it has taken in; it is on the device where the guard's verdict is."""

    @torch.no_grad()
    def update(self, system: System) -> None:
        """Take in the weights of another step, unless the guard's flag on a device left it out: nothing was learnt."""
        own: list[Tensor] = [*self.system.parameters()]
        newest: list[Tensor] = [*system.parameters()]
        left_out: Tensor | None = getattr(self.optimizer, "found_inf", None)
        if left_out is None:
            torch._foreach_lerp_(own, newest, 1 - self.decay if self.steps else 1.0)
            self.steps += 1
        else:
            made, before = 1 - left_out, torch.zeros_like(left_out) + self.steps
            share = made * torch.where(before > 0, 1 - self.decay, 1.0)
            torch._foreach_lerp_(own, newest, [share.to(each.dtype) for each in own])
            self.steps = before + made
        for kept, buffer in zip(self.system.buffers(), system.buffers(), strict=True):
            kept.copy_(buffer)

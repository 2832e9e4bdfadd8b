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

    def __init__(self, system: System, decay: float) -> None:
        self.system = copy.deepcopy(system)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, system: System) -> None:
        """Take in the weights of another step."""
        own: list[Tensor] = [*self.system.parameters()]
        newest: list[Tensor] = [*system.parameters()]
        if self.steps == 0:
            torch._foreach_copy_(own, newest)
        else:
            torch._foreach_lerp_(own, newest, 1 - self.decay)
        for kept, buffer in zip(self.system.buffers(), system.buffers(), strict=True):
            kept.copy_(buffer)
        self.steps += 1

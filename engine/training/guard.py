"""Numbers that are not finite never reach the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from engine.training.meter import Number

FP16_OVERFLOWS = 20
"""fp16 gradients overflow while the scaler seeks its scale: 16 halvings bring 65,536 to 1, a few more are allowed."""


class BadStep(NamedTuple):
    """A step (counted from 0) that was left out, and which number was not finite first."""

    step: int
    what: Literal["loss", "gradient"]


class NonFiniteGuard:
    """Watches loss and gradient norm of every step without waiting for the device.

    Numbers of a CPU are judged at once, and a step that is bad is not made. Those of another device stay there, and so
    does the verdict: it tells the fused optimiser to leave weights and moments alone (the flag `found_inf` that
    torch's own gradient scaler uses). `review` waits for the device and names the steps; the loop calls it only before
    it reports, measures or saves. With `hold`, one bad step stops all later updates too, so that the weights found at
    the review are those the bad step saw. Up to `overflows` steps in a row may lose their gradients to overflow without
    counting as bad; their updates are left out all the same. `buffers` are those that the forward pass writes to (a
    norm's statistics): a step that is left out leaves them as they were before it.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, hold: bool, overflows: int = 0, buffers: Sequence[Tensor] = ()
    ) -> None:
        self.optimizer = optimizer
        self.hold = hold
        self.overflows = overflows
        self.buffers = buffers
        self._before: list[Tensor] = []
        self._bad: list[BadStep] = []
        self._flags: list[tuple[int, Tensor, Tensor]] = []
        self._loss: Number = 0.0
        self._in_a_row: Number = 0.0
        self._held: Number = 0.0

    def state(self) -> float:
        """How many steps have lost their gradients in a row, for a checkpoint, which is written after a review."""
        return float(self._in_a_row)

    def restore(self, state: float) -> None:
        """Go on counting where a checkpoint was written."""
        self._in_a_row = float(state)

    def begin(self) -> None:
        """Remember the buffers before a step's first forward pass."""
        self._before = [buffer.clone() for buffer in self.buffers]

    def see(self, loss: Number) -> None:
        """Take note of one micro-batch's loss; the first that is not finite makes the sum so."""
        self._loss = self._loss + loss

    def judge(self, step: int, norm: Number, shared: bool) -> bool:
        """Whether the optimiser is to make this step, as far as it can be told without waiting for a device.

        `shared` when several processes must agree.
        """
        loss, self._loss = self._loss, 0.0
        if isinstance(norm, Tensor):
            self._judge_there(step, torch.as_tensor(loss), norm, shared)
            return True
        return self._judge_here(step, float(loss), norm, shared)

    def _judge_here(self, step: int, loss: float, norm: float, shared: bool) -> bool:
        wild, lost = not math.isfinite(loss), not math.isfinite(norm)
        if shared:
            flags = torch.tensor([wild, lost], dtype=torch.float32)
            torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
            wild, lost = map(bool, flags.tolist())
        self._in_a_row = self._in_a_row + 1 if lost else 0.0
        bad = wild or self._in_a_row > self.overflows
        if bad:
            self._bad.append(BadStep(step, "loss" if wild else "gradient"))
            self._held = float(self.hold)
        left_out = bad or lost or self._held > 0
        if left_out:
            for buffer, before in zip(self.buffers, self._before, strict=True):
                buffer.copy_(before)
        return not left_out

    def _judge_there(self, step: int, loss: Tensor, norm: Tensor, shared: bool) -> None:
        lost = torch.isfinite(norm).logical_not().to(torch.float32)
        wild = torch.isfinite(loss).logical_not().to(torch.float32)
        if shared:
            both = torch.stack([lost, wild])
            torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MAX)
            lost, wild = both
        self._in_a_row = lost * (self._in_a_row + 1)
        bad = torch.maximum(wild, (self._in_a_row > self.overflows).to(torch.float32))
        flag = torch.maximum(bad, lost)
        if self.hold:
            self._held = (bad + self._held).clamp(max=1)
            flag = torch.maximum(flag, self._held)
        self.optimizer.found_inf = flag  # type: ignore[attr-defined]  # torch's scaler sets it the same way
        for buffer, before in zip(self.buffers, self._before, strict=True):
            buffer.copy_(torch.where(flag > 0, before, buffer))
        self._flags.append((step, bad, wild))

    def review(self) -> list[BadStep]:
        """The steps since the last review whose loss or gradient was not finite."""
        found, self._bad = self._bad, []
        if self._flags:
            steps = [step for step, _, _ in self._flags]
            verdicts = torch.stack([torch.stack([bad, wild]) for _, bad, wild in self._flags]).tolist()
            self._flags.clear()
            for step, (bad, wild) in zip(steps, verdicts, strict=True):
                if bad:
                    found.append(BadStep(step, "loss" if wild else "gradient"))
        return found

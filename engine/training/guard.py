"""Numbers that are not finite are noticed on the device and never reach the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

FP16_OVERFLOWS = 20
"""fp16 gradients overflow while the scaler seeks its scale: 16 halvings bring 65,536 to 1, a few more are allowed."""


class BadStep(NamedTuple):
    """A step (counted from 0) that was left out, and which number was not finite first."""

    step: int
    what: Literal["loss", "gradient"]


class NonFiniteGuard:
    """Watches loss and gradient norm of every step without waiting for the device.

    The verdict stays on the device and tells the fused optimiser to leave weights and moments alone (the flag
    `found_inf` that torch's own gradient scaler uses). `review` waits for the device and names the steps; the loop
    calls it only before it reports, measures or saves. With `hold`, one bad step stops all later updates too, so that
    the weights found at the review are those the bad step saw. Up to `overflows` steps in a row may lose their
    gradients to overflow without counting as bad; their updates are left out all the same. `buffers` are those that
    the forward pass writes to (a norm's statistics): a step that is left out leaves them as they were before it.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, hold: bool, overflows: int = 0, buffers: Sequence[Tensor] = ()
    ) -> None:
        self.optimizer = optimizer
        self.hold = hold
        self.overflows = overflows
        self.buffers = buffers
        self._before: list[Tensor] = []
        self._flags: list[tuple[int, Tensor, Tensor]] = []
        self._loss: Tensor | None = None
        self._in_a_row: Tensor | None = None
        self._held: Tensor | None = None

    def state(self) -> Tensor | None:
        """How many steps have lost their gradients in a row, for a checkpoint, which is written after a review."""
        return self._in_a_row

    def restore(self, state: Tensor | None) -> None:
        """Go on counting where a checkpoint was written."""
        self._in_a_row = state

    def begin(self) -> None:
        """Remember the buffers before a step's first forward pass."""
        self._before = [buffer.clone() for buffer in self.buffers]

    def see(self, loss: Tensor) -> None:
        """Take note of one micro-batch's loss; the first that is not finite makes the sum so."""
        self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()

    def judge(self, step: int, norm: Tensor, shared: bool) -> None:
        """Decide about one step before the optimiser makes it; `shared` when several processes must agree."""
        assert self._loss is not None, "see() comes before judge()"
        lost = torch.isfinite(norm).logical_not().to(torch.float32)
        wild = torch.isfinite(self._loss).logical_not().to(torch.float32)
        if shared:
            both = torch.stack([lost, wild])
            torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MAX)
            lost, wild = both
        self._in_a_row = lost if self._in_a_row is None else lost * (self._in_a_row.to(lost.device) + 1)
        bad = torch.maximum(wild, (self._in_a_row > self.overflows).to(torch.float32))
        flag = torch.maximum(bad, lost)
        if self.hold:
            self._held = bad if self._held is None else torch.maximum(bad, self._held)
            flag = torch.maximum(flag, self._held)
        self.optimizer.found_inf = flag  # type: ignore[attr-defined]  # torch's scaler sets it the same way
        for buffer, before in zip(self.buffers, self._before, strict=False):
            buffer.copy_(torch.where(flag > 0, before, buffer))
        self._flags.append((step, bad, wild))
        self._loss = None

    def review(self) -> list[BadStep]:
        """The steps since the last review whose loss or gradient was not finite."""
        if not self._flags:
            return []
        bad = torch.stack([torch.stack([bad, wild]) for _, bad, wild in self._flags]).tolist()
        steps = [step for step, _, _ in self._flags]
        self._flags.clear()
        return [
            BadStep(step, "loss" if wild else "gradient")
            for step, (found, wild) in zip(steps, bad, strict=True)
            if found
        ]

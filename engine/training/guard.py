"""Numbers that are not finite are noticed on the device and never reach the weights."""

from __future__ import annotations

import torch
from torch import Tensor


class NonFiniteGuard:
    """Watches loss and gradient norm of every step without waiting for the device.

    The verdict stays on the device and tells the fused optimiser to leave weights and moments alone (the flag
    `found_inf` that torch's own gradient scaler uses). `review` waits for the device and names the steps; the loop
    calls it only when it reports. With `hold`, one bad step stops all later updates too, so that
    the weights found at the review are those the bad step saw.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, hold: bool) -> None:
        self.optimizer = optimizer
        self.hold = hold
        self._flags: list[tuple[int, Tensor]] = []
        self._held: Tensor | None = None

    def watch(self, step: int, loss: Tensor, norm: Tensor, shared: bool) -> None:
        """Judge one step before the optimiser makes it; `shared` when several processes must agree."""
        bad = torch.isfinite(loss.detach() + norm).logical_not().to(torch.float32)
        if shared:
            torch.distributed.all_reduce(bad, torch.distributed.ReduceOp.MAX)
        flag = bad if self._held is None else torch.maximum(bad, self._held)
        if self.hold:
            self._held = flag
        self.optimizer.found_inf = flag  # type: ignore[attr-defined]  # torch's scaler sets it the same way
        self._flags.append((step, bad))

    def review(self) -> list[int]:
        """Steps since the last review whose loss or gradient was not finite."""
        if not self._flags:
            return []
        bad = torch.stack([flag for _, flag in self._flags]).tolist()
        steps = [step for (step, _), value in zip(self._flags, bad, strict=True) if value]
        self._flags.clear()
        return steps

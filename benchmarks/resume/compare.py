"""What a resumed run has in common with the untouched run of the same trainer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Outcome:
    """A resumed run beside the untouched one.

    start: the first step that the resumed process made. steps: those that the untouched run made from there to its
    end. made: those that the resumed process made. same_losses: steps whose loss is the same, bit for bit.
    same_samples: whether each step saw the same samples in the same order. weights: the largest difference of a
    floating tensor, relative to that tensor's largest value; 0 with same_weights, where every tensor is equal bit for
    bit. error: why there is nothing to compare; the rest is then empty.
    """

    start: int = 0
    steps: int = 0
    made: int = 0
    same_losses: int = 0
    same_samples: bool = False
    same_weights: bool = False
    weights: float = 0.0
    error: str = ""

    @property
    def identical(self) -> bool:
        same = self.same_weights and self.same_samples and self.same_losses == self.steps == self.made > 0
        return same and not self.error


def compare(untouched: Path, resumed: Path, attempt: int = 1) -> Outcome:
    """Compare two folders' step logs and final weights."""
    reference, steps = _steps(untouched, 0), _steps(resumed, attempt)
    start = steps[0]["step"] if steps else len(reference) + 1
    expected = [step for step in reference if step["step"] >= start]
    losses = {step["step"]: step["loss"] for step in steps}
    same, difference = _weights(untouched / "weights.pt", resumed / "weights.pt")
    return Outcome(
        start=start,
        steps=len(expected),
        made=len(steps),
        same_losses=sum(losses.get(step["step"]) == step["loss"] for step in expected),
        same_samples=[step["samples"] for step in expected] == [step["samples"] for step in steps],
        same_weights=same,
        weights=difference,
    )


def _steps(folder: Path, attempt: int) -> list[dict[str, Any]]:
    log = folder / f"steps-{attempt}.jsonl"  # not there where no step was made
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _weights(one: Path, other: Path) -> tuple[bool, float]:
    """Whether all tensors are equal bit for bit, and the largest relative difference."""
    ours, theirs = torch.load(one, weights_only=True), torch.load(other, weights_only=True)
    assert ours.keys() == theirs.keys(), "the same network has the same tensors"
    # As bytes: 0.0 and -0.0 are equal numbers, and nan equals nothing.
    same = all(
        torch.equal(tensor.reshape(-1).view(torch.uint8), theirs[name].reshape(-1).view(torch.uint8))
        for name, tensor in ours.items()
    )
    differences = [
        ((tensor - theirs[name]).abs().max() / tensor.abs().max()).item()
        for name, tensor in ours.items()
        if tensor.is_floating_point()
    ]
    return same, max(differences)

"""Answers that are no numbers: their figures say nothing and their files hold nothing, so a line names them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from engine import events
from engine.prediction import Batch, Prediction

SHOWN = 6
"""Samples that are named; all are counted."""

Count = tuple[str, int, int]
"""A sample, the values of its prediction that are not finite, and all of them."""


class NotFinite:
    """Counts what of passing predictions is not finite; a device is waited for when the counts are asked for."""

    def __init__(self) -> None:
        self._seen: list[tuple[Sequence[str], Tensor, int]] = []

    def add(self, batch: Batch, prediction: Prediction) -> None:
        """Count a batch."""
        values = prediction.value.detach().flatten(1)
        names = batch.get("id", [""] * len(values))
        self._seen.append((names, values.isfinite().logical_not().sum(1), values.shape[1]))

    def passing(self, pairs: Iterator[tuple[Batch, Prediction]]) -> Iterator[tuple[Batch, Prediction]]:
        """The same pairs, each counted."""
        for batch, prediction in pairs:
            self.add(batch, prediction)
            yield batch, prediction

    def counts(self) -> list[Count]:
        """A count a sample, in the order in which they passed."""
        return [
            (name, wild, size)
            for names, counted, size in self._seen
            for name, wild in zip(names, counted.tolist(), strict=True)
        ]


def warning(source: str, counts: Sequence[Count]) -> events.Note | None:
    """What to tell of the predictions for `source`; None where all are finite."""
    samples = [name for name, wild, _ in counts if wild]
    if not samples:
        return None
    wild, values = sum(wild for _, wild, _ in counts), sum(size for *_, size in counts)
    few = ", ".join(samples[:SHOWN]) + (", ..." if len(samples) > SHOWN else "")
    return events.Note(
        "warning",
        f"{source}: the predictions for {len(samples)} of {len(counts)} samples are not finite, "
        f"{wild} of {values} values: {few}",
        {"data": source, "samples": samples, "not_finite": wild, "values": values},
    )

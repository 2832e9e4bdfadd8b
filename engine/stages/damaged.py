"""Damaged samples that a stage passes over: each is told once, and all of them are counted in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine import events
from engine.errors import DamagedDataError


class DamagedSamples:
    """The damaged samples met since the last count."""

    def __init__(self, emit: Callable[[Any], None]) -> None:
        self._emit = emit
        self._met: dict[tuple[str, str], str] = {}

    def tell(self, damaged: Sequence[DamagedDataError]) -> None:
        """Note those that are new."""
        for error in damaged:
            self._add(error.source, error.sample, str(error))

    def count(self) -> None:
        """Note how many samples of each data set were passed over, in all processes; begin anew."""
        from accelerate.utils import gather_object

        for (source, sample), text in gather_object(list(self._met.items())):
            self._add(source, sample, text)
        for source in dict.fromkeys(source for source, _ in self._met):
            samples = sorted(sample for of, sample in self._met if of == source)
            self._emit(
                events.Note(
                    "warning",
                    f"{source}: {len(samples)} damaged samples were passed over: {', '.join(samples[:6])}"
                    + (", ..." if len(samples) > 6 else ""),
                    {"data": source, "damaged": samples},
                )
            )
        self._met.clear()

    def _add(self, source: str, sample: str, text: str) -> None:
        if (source, sample) not in self._met:
            self._met[source, sample] = text
            self._emit(events.Note("warning", f"{text}; it is passed over", {"data": source, "sample": sample}))

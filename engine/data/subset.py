"""Some samples of another data set, or all the others: for learning from few, and from what is left without truth."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from engine.contracts import Sample
from engine.data.options import SubsetOptions
from engine.errors import InputError


class Subset:
    """The data set `subset`; everything but its samples it is asked comes from the set that it is of.

    The chosen ones of a count are among those of a greater one with the same seed.
    """

    def __init__(self, options: SubsetOptions) -> None:
        self.options = options
        self._whole = options.of.build()

    def __getattr__(self, name: str) -> Any:
        # What a data set may leave out (`prepare`, `units`) is missing here where it is missing there.
        if name.startswith("__") or name == "_whole":  # a copy asks for these before it has a data set
            raise AttributeError(name)
        found = getattr(self._whole, name)
        return found if name != "whole" else lambda index: found(self._chosen[index])

    def scenes(self) -> list[str] | None:
        """The scenes of the chosen samples; None where the whole set does not tell one of each sample."""
        told = getattr(self._whole, "scenes", lambda: None)()
        # A mix names no scenes of sets that do not, a store none of damaged samples that were left out.
        return [told[index] for index in self._chosen] if told and len(told) == len(self._whole) else None

    @cached_property
    def _chosen(self) -> list[int]:
        there, o = len(self._whole), self.options
        if o.count > there:
            raise InputError(f"a subset of {o.count} samples of {there}")
        order = range(there) if o.seed is None else np.random.default_rng(o.seed).permutation(there).tolist()
        return sorted(order[o.count :] if o.rest else order[: o.count])

    def __len__(self) -> int:
        return len(self._chosen)

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index` of the chosen ones, in the order of the whole set; IndexError where there is none."""
        if not 0 <= index < len(self):
            raise IndexError(f"the subset has {len(self)} samples; there is no index {index}")
        return self._whole.sample(self._chosen[index], rng)

"""Several data sets as one: every draw comes from one of them, each with its own probability."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np

from engine.contracts import Progress, Sample
from engine.data.draws import of_sample
from engine.data.options import MixOptions
from engine.data.source import Source
from engine.errors import DamagedDataError, InputError


class Mix:
    """The data set `mix`.

    In training a draw picks a set with its probability and then any of its samples, all alike: both come from `rng`, so
    a sample is a function of its draw alone. The length is that of all sets together, so an epoch is as many draws as
    there are samples; some of them come several times in it, others not at all. In evaluation, where `rng` is None, the
    sets follow one another. Samples have the fields that all sets bring.
    """

    def __init__(self, options: MixOptions) -> None:
        self.sets = [
            Source(table.build(), f"set {number} of the mix ({table.plugin})")
            for number, table in enumerate(options.sets, 1)
        ]
        self._reach = list(accumulate(table.probability for table in options.sets))

    @cached_property
    def _lengths(self) -> list[int]:
        lengths = [len(each) for each in self.sets]
        for each, length in zip(self.sets, lengths, strict=True):
            if length == 0:
                raise InputError(f"{each} holds no samples")
        return lengths

    def __len__(self) -> int:
        return sum(self._lengths)

    def prepare(self, progress: Progress) -> None:
        """Let every set make what it reads."""
        for each in self.sets:
            each.prepare(progress)

    def scenes(self) -> Sequence[str]:
        """The scenes of the sets that name theirs, one set after the other."""
        return [scene for each in self.sets for scene in each.scenes() or ()]

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """A sample of the draw, or number `index` of all sets in a row without `rng`.

        InputError where the sets do not go together: training samples of two sizes, or a set without samples.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"the mix has {len(self)} samples; there is no index {index}")
        number, place = self._in_a_row(index) if rng is None else self._drawn(index, rng)
        fields = self._fields if rng is None else self._fields_of_one_size
        sample = self.sets[number].sample(place, rng)
        return {name: sample[name] for name in fields}

    def _in_a_row(self, index: int) -> tuple[int, int]:
        number = 0
        while index >= self._lengths[number]:
            index -= self._lengths[number]
            number += 1
        return number, index

    def _drawn(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        # The last reach may round to less than 1.
        number = min(int(np.searchsorted(self._reach, rng.random(), side="right")), len(self.sets) - 1)
        length = self._lengths[number]
        # In place of a damaged sample the engine asks for the next index with the same random numbers.
        return number, (int(rng.integers(length)) + index) % length

    @cached_property
    def _sizes(self) -> list[dict[str, tuple[int, ...]]]:
        """The fields of every set and their sizes in training, from its first sample that can be read."""
        return [_sizes(each) for each in self.sets]

    @cached_property
    def _fields(self) -> list[str]:
        return [name for name in self._sizes[0] if all(name in sizes for sizes in self._sizes)]

    @cached_property
    def _fields_of_one_size(self) -> list[str]:
        """The shared fields; InputError where their sizes differ, which a batch would meet some day."""
        for name in self._fields:
            found = [sizes[name] for sizes in self._sizes]
            if len(set(found)) > 1:
                told = ", ".join(f"{size} in {each}" for size, each in zip(found, self.sets, strict=True))
                advice = (
                    "cut each set of the mix to the same size: what is around the mix gets samples of one size only"
                )
                raise InputError(f"field '{name}' differs in size: {told}", advice)
        return self._fields


def _sizes(source: Source) -> dict[str, tuple[int, ...]]:
    for index in range(len(source)):
        try:
            # of one batch, so that sets that draw its size in the same way are seen to agree
            return {name: np.shape(value) for name, value in source.sample(index, of_sample(0, "", (0, 0), 0)).items()}
        except DamagedDataError as error:
            last = error
    raise source.unreadable(last)

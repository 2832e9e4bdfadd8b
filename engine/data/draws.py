"""The random numbers of a sample, and those that it shares with the rest of its batch."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np


def generator(seed: int, stage: str, *counters: int) -> np.random.Generator:
    """Random numbers that depend on nothing but the run's seed, the stage's name and the counters."""
    return np.random.Generator(_bits(seed, stage, *counters))


class SampleGenerator(np.random.Generator):
    """A sample's own random numbers; `batch` gives those of its batch, the same for each sample and process."""

    def __init__(self, own: np.random.BitGenerator, batch: np.random.Generator) -> None:
        super().__init__(own)
        self.batch = batch

    def __reduce__(self) -> Any:
        # What numpy would send to another process is a plain generator.
        return SampleGenerator, (self.bit_generator, self.batch)

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        """Further generators, of the same batch."""
        # numpy makes them of this class, from their bits alone.
        return [SampleGenerator(bits, self.batch) for bits in self.bit_generator.spawn(n_children)]


def of_sample(seed: int, stage: str, draw: tuple[int, int], step: int) -> SampleGenerator:
    """The random numbers of a draw (epoch, index) in batch `step` of a stage."""
    return SampleGenerator(_bits(seed, stage, 1, *draw), generator(seed, stage, 2, step))


def of_batch(rng: np.random.Generator) -> np.random.Generator:
    """Random numbers for what all samples of a batch must have in common, such as their size.

    rng: what the engine gave to `Dataset.sample` in training. Of any other generator, which draws for no batch, itself.
    """
    return rng.batch if isinstance(rng, SampleGenerator) else rng


def _bits(seed: int, stage: str, *counters: int) -> np.random.BitGenerator:
    return np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(stage.encode()), *counters]))

"""A plugin's data set, whose mistakes are told in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from engine.contracts import Dataset, Progress, Sample
from engine.errors import DamagedDataError, PluginError, WorldError
from engine.reading import fields_of
from engine.registered import guarded


def _nobody(damaged: Sequence[DamagedDataError]) -> None:
    """Hears of damaged samples where nobody asked to; a function with a name, which workers can be sent."""


class Source:
    """A data set under the name by which messages call it.

    skips: whether the recipe goes on without damaged samples; `tell` then hears of each of them, as often as it is met.
    left_out: fields that the data set has and its samples here have not, because nobody who reads them declares them.
    PluginError for what the data set raises, WorldError where that is an OSError.
    """

    def __init__(
        self,
        dataset: Dataset,
        name: str,
        skips: bool = False,
        tell: Callable[[Sequence[DamagedDataError]], None] = _nobody,
    ) -> None:
        self.dataset = dataset
        self.name = name
        self.skips = skips
        self.tell = tell
        self.left_out: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.name

    def close(self) -> None:
        """Give back what is held for reading; nothing, of a plugin's data set."""

    @contextmanager
    def _asked(self, doing: str) -> Iterator[None]:
        what = f"{self.name} failed {doing}"
        with guarded(what):
            try:
                yield
            except DamagedDataError as error:
                error.source = self.name
                raise
            except OSError as error:
                raise WorldError(f"{what}: {error}") from error

    def __len__(self) -> int:
        with self._asked("to tell its length"):
            return len(self.dataset)

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Example `index`."""
        with self._asked(f"at sample {index}"):
            return self._checked(self.dataset.sample(index, rng), index)

    @property
    def augments(self) -> bool:
        """Whether the data set can augment an example after the base has seen it."""
        return hasattr(self.dataset, "augment")

    def whole(self, index: int) -> Sample:
        """Example `index` before its random changes: the whole frame, where the data set tells it from its crop."""
        whole = getattr(self.dataset, "whole", None)
        if whole is None:
            return self.sample(index, None)
        with self._asked(f"at sample {index}"):
            return self._checked(whole(index), index)

    def augment(self, sample: Sample, index: int, rng: np.random.Generator) -> Sample:
        """The whole example `index`, which brings the base's answer, as training sees it."""
        with self._asked(f"to augment sample {index}"):
            changed: Any = self.dataset.augment(sample, rng)  # type: ignore[attr-defined]  # optional: see `augments`
            return self._checked(changed, index)

    def _checked(self, sample: Any, index: int) -> Sample:
        if not isinstance(sample, dict):
            raise PluginError(f"{self.name} gave a {type(sample).__name__} for sample {index}; expected a dict")
        for name in ("id", "scene"):
            if not isinstance(sample.get(name, ""), str):
                raise PluginError(f"{self.name} gave {name} {sample[name]!r} for sample {index}; expected a text")
        kind = str(getattr(sample.get("valid"), "dtype", "bool")).removeprefix("torch.")
        if kind != "bool":
            # As indices, which numbers are, such a mask would choose other pixels without a word.
            raise PluginError(f"{self.name} gave 'valid' as {kind} for sample {index}; expected bool")
        return fields_of(sample, self.name)

    def passed(self, error: DamagedDataError) -> DamagedDataError:
        """The error to tell of where the sample may be passed over; raised where it may not."""
        if not self.skips:
            raise error
        return error.without_trace()

    def first(self, read: Callable[[int], Sample]) -> Sample:
        """The first sample that `read` can give; what is damaged before it is told of where it may be passed over."""
        for index in range(len(self)):
            try:
                return read(index)
            except DamagedDataError as error:
                self.tell([self.passed(error)])
        raise self.unreadable()

    def unreadable(self, error: DamagedDataError | None = None) -> WorldError:
        """Nothing is left to read."""
        last = f"; the last of them: {error}" if error else ""
        return WorldError(f"{self.name}: all of its {len(self)} samples are damaged{last}")

    def prepare(self, progress: Progress) -> None:
        """Let the data set make what it reads, where it has anything to make."""
        prepare = getattr(self.dataset, "prepare", None)
        if prepare is not None:
            with self._asked("to prepare"):
                prepare(progress)

    def scenes(self) -> Sequence[str] | None:
        """The scene of each sample by name, None where it does not tell them without reading."""
        scenes = getattr(self.dataset, "scenes", None)
        if scenes is None:
            return None
        with self._asked("to name its scenes"):
            named = scenes()
            return None if named is None else [str(scene) for scene in named]

    def units(self) -> Mapping[str, str]:
        """The units of its fields, as far as it tells them."""
        units = getattr(self.dataset, "units", None)
        if units is None:
            return {}
        with self._asked("to tell its units"):
            return {str(name): str(unit) for name, unit in units().items()}


class First:
    """A data set cut short to `count` samples; everything else it is asked comes from the data set itself."""

    def __init__(self, whole: Dataset, count: int) -> None:
        self._whole, self._count = whole, count

    def __len__(self) -> int:
        return min(self._count, len(self._whole))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a copy asks for these before it has a data set
            raise AttributeError(name)
        return getattr(self._whole, name)

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Example `index`."""
        return self._whole.sample(index, rng)

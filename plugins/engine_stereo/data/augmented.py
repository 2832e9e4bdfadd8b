"""The data set `augmented`: cuts and augments the examples of any stereo set, such as a packed or a rendered one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from engine.data.options import InnerData
from engine_stereo.data.buckets import CutOptions

if TYPE_CHECKING:
    import numpy as np

    from engine.contracts import Sample


class AugmentedOptions(CutOptions):
    """Options of the data set `augmented`."""

    of: InnerData = Field(description="the table of another data set")


class Augmented:
    """The examples of another data set, augmented; everything else it is asked comes from that set."""

    def __init__(self, options: AugmentedOptions) -> None:
        self.options = options
        self._whole = options.of.build()

    def __len__(self) -> int:
        return len(self._whole)

    def __getattr__(self, name: str) -> Any:
        # What a data set may leave out (`prepare`, `scenes`) is missing here where it is missing there.
        if name == "_whole":  # not set yet, as in a copy under construction
            raise AttributeError(name)
        return getattr(self._whole, name)

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Example `index`, augmented where there is `rng`; its errors, and InputError as `augmented` raises it."""
        from engine_stereo.data.augment import shown

        return shown(self._whole.sample(index, rng), self.options, rng)

    def whole(self, index: int) -> Sample:
        """Example `index` of the other set, whole and without augmentation."""
        whole = getattr(self._whole, "whole", None)
        return self._whole.sample(index, None) if whole is None else whole(index)

    @property
    def augment(self) -> Callable[[Sample, np.random.Generator], Sample]:
        """The whole example with the base's answer to it, as the other set and then this one cut it.

        Missing where the other set has none: its own random changes would be left out. InputError as `cut_after_base`.
        """
        return partial(self._augment, self._whole.augment)

    def _augment(self, inner: Any, sample: Sample, rng: np.random.Generator) -> Sample:
        from engine_stereo.data.augment import cut_after_base

        return cut_after_base(inner(sample, rng), self.options.augment, rng, self.options.window(rng))

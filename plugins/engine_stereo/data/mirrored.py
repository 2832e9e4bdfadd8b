"""The data set `mirrored`: pairs as in a mirror beside the cameras, so that a network answers for the right view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from engine.data.options import InnerData
from engine.errors import InputError
from engine_stereo.options import Options

if TYPE_CHECKING:
    import numpy as np

    from engine.contracts import Sample


class MirroredOptions(Options):
    """Options of the data set `mirrored`."""

    of: InnerData = Field(description="the table of another data set")


class Mirrored:
    """The pairs of another data set mirrored, without truth: the left view's is not that of the right one."""

    def __init__(self, options: MirroredOptions) -> None:
        self._whole = options.of.build()

    def __len__(self) -> int:
        return len(self._whole)

    def __getattr__(self, name: str) -> Any:
        # What is told of single samples is told of samples that are not mirrored.
        if name not in ("prepare", "scenes"):
            raise AttributeError(name)
        return getattr(self._whole, name)

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Example `index`: `left` is the right view in the mirror, and `right` the left one; InputError without two."""

        from engine_stereo.data.augment_geometry import VIEWS, mirrored
        from engine_stereo.data.reading import is_picture

        sample = self._whole.sample(index, rng)
        if "right" not in sample:
            raise InputError(f"{sample.get('id', 'an example')} has one view, and a mirrored pair needs two")
        return mirrored({name: value for name, value in sample.items() if not is_picture(value) or name in VIEWS})

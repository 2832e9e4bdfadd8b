"""The Motorcycle pair of Middlebury 2014 as scikit-image ships it: one real scene, without any download."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from engine.contracts import Sample
from engine.errors import DamagedDataError, WorldError
from engine_stereo.data.frames import Frame
from engine_stereo.data.presets import Encoding
from engine_stereo.data.reading import read, scaled
from engine_stereo.options import MotorcycleOptions

_NAME = "motorcycle"
_INSTALL = 'pip install "experiment-engine[stereo]"'


class Motorcycle:
    """One example: left, right (3, H, W) float32 0..255, disparity (1, H, W) px, valid (1, H, W) bool.

    The pair is 741 x 500 pixels with disparities of 7 to 60 px; 7 % of the truth is unknown and not valid. There is no
    occlusion mask, because only one view's disparity is shipped. Scharstein et al., "High-resolution stereo datasets
    with subpixel-accurate ground truth", GCPR 2014.
    """

    def __init__(self, options: MotorcycleOptions) -> None:
        self.scale = options.scale
        self._example: Sample | None = None

    def __len__(self) -> int:
        return 1

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """The pair; `rng` is not used.

        Raises WorldError without scikit-image, DamagedDataError for a file that cannot be read, IndexError for another
        index than 0.
        """
        if index != 0:
            raise IndexError(f"the data set has one example, and its index is 0, not {index}")
        if self._example is None:
            self._example = _read(self.scale)
        # Copies, because who augments in place must not spoil the next answer.
        return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in self._example.items()}


def _read(scale: float) -> Sample:
    folder = _shipped_data()
    left, right = (folder / f"motorcycle_{side}.png" for side in ("left", "right"))
    truth = Encoding(kind="npz", key="arr_0")
    try:
        return scaled(read(Frame(_NAME, _NAME, left, right, folder / "motorcycle_disp.npz", truth)), scale)
    except DamagedDataError as error:
        raise DamagedDataError(error.array, error.sample, f"{error.reason}; {_INSTALL} --force-reinstall") from error


def _shipped_data() -> Path:
    # The files are read directly: scikit-image's own loader would go to the network for a file it does not ship.
    if find_spec("skimage") is None or find_spec("PIL") is None:
        raise WorldError(f"the data set 'motorcycle' needs scikit-image and Pillow: {_INSTALL}")
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    if not (folder / "motorcycle_disp.npz").is_file():
        raise WorldError(f"scikit-image {version('scikit-image')} ships no Motorcycle pair: {_INSTALL} --upgrade")
    return folder

"""The Motorcycle pair of Middlebury 2014 as scikit-image ships it: one real scene, without any download."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from engine.contracts import Sample
from engine.errors import DamagedDataError, WorldError
from engine_stereo.options import MotorcycleOptions

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
    with _whole("disparity", folder / "motorcycle_disp.npz") as path, path.open("rb") as file, np.load(file) as arrays:
        disparity = arrays["arr_0"].astype(np.float32)
    full_height, full_width = disparity.shape
    height, width = max(1, round(full_height * scale)), max(1, round(full_width * scale))
    # One sample of the truth a pixel, never a mean: a mean over an edge is the depth of neither side.
    rows = _centres(height, full_height)
    columns = _centres(width, full_width)
    disparity = disparity[rows[:, None], columns] * np.float32(width / full_width)
    valid = np.isfinite(disparity)
    return {
        "left": _image("left", folder, width, height),
        "right": _image("right", folder, width, height),
        "disparity": np.where(valid, disparity, np.float32(0))[None],
        "valid": valid[None],
        "id": "motorcycle",
        "scene": "motorcycle",
    }


def _shipped_data() -> Path:
    # The files are read directly: scikit-image's own loader would go to the network for a file it does not ship.
    if find_spec("skimage") is None or find_spec("PIL") is None:
        raise WorldError(f"the data set 'motorcycle' needs scikit-image and Pillow: {_INSTALL}")
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    if not (folder / "motorcycle_disp.npz").is_file():
        raise WorldError(f"scikit-image {version('scikit-image')} ships no Motorcycle pair: {_INSTALL} --upgrade")
    return folder


def _centres(size: int, full: int) -> NDArray[np.intp]:
    return ((np.arange(size) + 0.5) * full / size).astype(np.intp)


def _image(side: str, folder: Path, width: int, height: int) -> NDArray[np.float32]:
    from PIL import Image

    with _whole(side, folder / f"motorcycle_{side}.png") as path:
        with Image.open(path) as file:
            file.verify()  # the checksums, of which decoding leaves out the last
        with Image.open(path) as file:
            picture = file.convert("RGB")
    if picture.size != (width, height):
        # Pillow widens the filter when it shrinks, which is what keeps fine texture from aliasing.
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(picture, dtype=np.float32).transpose(2, 0, 1))


@contextmanager
def _whole(array: str, file: Path) -> Iterator[Path]:
    """Read a file; DamagedDataError for what zip, numpy and Pillow raise for one that is cut short or altered."""
    try:
        yield file
    except (OSError, ValueError, LookupError, SyntaxError, EOFError, NotImplementedError, BadZipFile, zlib.error) as e:
        raise DamagedDataError(array, "motorcycle", f"{file}: {e}; {_INSTALL} --force-reinstall") from e

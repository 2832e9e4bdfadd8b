"""What a network answers to pairs without truth, as a data set to train on: disparity where it is to be believed.

Two rules say where. The network's own confidence, where it tells one; and agreement of both views: the answer to the
mirrored pair is the right view's disparity, and where the left view's leads to a pixel that has another one, at least
one of the two is wrong, or the right view does not see the point.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.prediction import Batch, Prediction
from engine_stereo.data.damage import whole
from engine_stereo.data.encodings import PRESETS, read_disparity, write_disparity
from engine_stereo.data.images import write_image
from engine_stereo.export_options import PseudoLabelOptions
from engine_stereo.exports import answers, as_numpy, file_below

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]

MANIFEST = 'left = "left/**/*.png"\nright = "right/**/*.png"\ndisparity = "disparity/**/*.pfm"\n'

ENCODING = PRESETS["middlebury"]


class PseudoLabels:
    """`left/ID.png`, `right/ID.png` and `disparity/ID.pfm`, infinite where unknown; `labels.toml` lists them.

    All of a pair is in the size that the network saw: of scaled data the labels are those of the small pictures.
    """

    def __init__(self, options: PseudoLabelOptions) -> None:
        self.options = options

    def __call__(self, prediction: Prediction, batch: Batch, folder: Path, seconds: float) -> None:
        """Write the pairs of a batch; InputError where the mirrored answer to one is not there, or of another size."""
        confidence = None if prediction.confidence is None else as_numpy(prediction.confidence[:, 0])
        for number, (name, disparity, known) in enumerate(answers(prediction, batch)):
            if confidence is not None:
                known &= confidence[number] >= self.options.min_confidence
            place = np.arange(disparity.shape[1]) - disparity
            known &= (place >= 0) & (place <= disparity.shape[1] - 1)
            if self.options.mirrored is not None:
                known &= consistent(disparity, *self._right(name, disparity), self.options.within)
            for side in ("left", "right"):
                write_image(file_below(folder / side, f"{name}.png"), as_numpy(batch[side][number]))
            write_disparity(file_below(folder / "disparity", f"{name}.pfm"), disparity, known, ENCODING)
        manifest = folder / "labels.toml"
        with whole("labels", manifest):
            manifest.write_text(MANIFEST)

    def _right(self, name: str, left: Map) -> tuple[Map, Mask]:
        """The right view's disparity and where it is known, from the answer to the mirrored pair."""
        assert self.options.mirrored is not None, "asked where there are such answers"
        path = self.options.mirrored / "disparity" / f"{name}.pfm"
        if not path.is_file():
            raise InputError(f"there is no {path}", "export the same pairs from the data set 'mirrored' first")
        disparity, known = (each[:, ::-1] for each in read_disparity(path, ENCODING))
        if disparity.shape != left.shape:
            raise InputError(f"{path} is {disparity.shape}, and the left view's disparity {left.shape}")
        return disparity, known


def consistent(left: Map, right: Map, known: Mask, within: float) -> Mask:
    """Where the right view's disparity (H, W) at x - d of the left one is known and d, up to `within` px."""
    width = left.shape[1]
    place = np.rint(np.arange(width) - left)
    inside = (place >= 0) & (place < width)
    there = np.where(inside, place, 0).astype(np.intp)
    agrees: Any = np.abs(np.take_along_axis(right, there, 1) - left) <= within
    return inside & agrees & np.take_along_axis(known, there, 1)

"""Semi-global matching of OpenCV, its holes filled from the background.

H. Hirschmueller, "Stereo processing by semiglobal matching and mutual information", PAMI 2008, as OpenCV changes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.errors import WorldError
from engine.prediction import Batch, Prediction
from engine_sgbm.options import SGBMOptions

_SUBPIXELS = 16  # OpenCV stores disparity in sixteenths of a pixel
_MODES = {"sgbm": "MODE_SGBM", "hh": "MODE_HH", "3way": "MODE_SGBM_3WAY"}


class SGBM(nn.Module):
    """A base without parameters; WorldError where OpenCV is not installed."""

    def __init__(self, options: SGBMOptions) -> None:
        super().__init__()
        self.options = options
        _opencv()

    def forward(self, batch: Batch) -> Prediction:
        """Disparity (B, 1, H, W) float32 px of `left` and `right` (B, 3, H, W) in [0, 255], on their device.

        confidence is 1 where a match passed the matcher's checks (left against right within 1 px, uniqueness, speckles)
        and 0 where the background was filled in.
        """
        pairs = [(_picture(left), _picture(right)) for left, right in zip(batch["left"], batch["right"], strict=True)]
        answers = [self._match(left, right) for left, right in pairs]
        value, matched = (np.stack([answer[part] for answer in answers])[:, None] for part in (0, 1))
        device = batch["left"].device
        return Prediction(
            torch.from_numpy(value).to(device), confidence=torch.from_numpy(matched).to(device, torch.float32)
        )

    def _match(
        self, left: NDArray[np.uint8], right: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Disparity (H, W) px without holes, and where it was matched."""
        cv2, options = _opencv(), self.options
        matcher = cv2.StereoSGBM.create(
            minDisparity=options.min_disparity,
            numDisparities=options.searched(left.shape[1]),
            blockSize=options.block_size,
            P1=8 * options.block_size**2 if options.p1 is None else options.p1,
            P2=32 * options.block_size**2 if options.p2 is None else options.p2,
            disp12MaxDiff=1,
            uniquenessRatio=options.uniqueness,
            speckleWindowSize=options.speckle_window,
            speckleRange=options.speckle_range,
            mode=getattr(cv2, f"StereoSGBM_{_MODES[options.mode]}"),
        )
        disparity = matcher.compute(left, right).astype(np.float32) / _SUBPIXELS
        matched = disparity > options.min_disparity  # below it, OpenCV says that there is none
        return background_filled(disparity, matched, options.min_disparity), matched


def background_filled(
    disparity: NDArray[np.float32], matched: NDArray[np.bool_], farthest: float
) -> NDArray[np.float32]:
    """Disparity (H, W) px in which a pixel without a match takes the farther one of the nearest two in its row.

    What one view alone sees lies behind what hides it. Before the first match of a row, as in the columns whose
    partners would lie outside of the right picture, it is `farthest`; behind the last one, that one.
    """
    columns = np.arange(disparity.shape[1])
    before = np.maximum.accumulate(np.where(matched, columns, -1), axis=1)
    after = np.minimum.accumulate(np.where(matched, columns, len(columns))[:, ::-1], axis=1)[:, ::-1]
    bounded = np.pad(disparity, ((0, 0), (1, 1)), constant_values=np.inf)  # columns -1 and W
    bounded[:, 0] = farthest
    beside = np.minimum(np.take_along_axis(bounded, before + 1, axis=1), np.take_along_axis(bounded, after + 1, axis=1))
    return np.where(matched, disparity, beside).astype(np.float32)


def _picture(view: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3) of (3, H, W)."""
    return np.ascontiguousarray(view.detach().round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy())


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise WorldError(
            "the model 'sgbm' is OpenCV's: pip install \"experiment-engine[opencv]\", or opencv-python-headless"
        ) from error
    return cv2

"""What a classical matcher makes of the scenes: right on opaque things, through the glass on transparent ones."""

import numpy as np
import pytest
from engine_scenes.pairs import render_pair
from engine_scenes.scene import random_scene
from engine_scenes.sensor import display

cv2 = pytest.importorskip("cv2")


def matched(left: np.ndarray, right: np.ndarray, reach: int) -> np.ndarray:
    """Semi-global matching with block 5 over all directions; images (3, H, W) in [0, 255]."""
    pictures = [
        cv2.copyMakeBorder(np.rint(x).astype(np.uint8).transpose(1, 2, 0), 0, 0, reach, 0, cv2.BORDER_REPLICATE)
        for x in (left, right)
    ]
    matcher = cv2.StereoSGBM_create(0, reach, 5, P1=600, P2=2400, mode=cv2.STEREO_SGBM_MODE_HH)
    return matcher.compute(*pictures)[:, reach:].astype(np.float32) / 16


def test_sgbm_is_right_on_opaque_things_and_wrong_on_glass() -> None:
    opaque, glass = [], []
    for k in range(5):
        pair = render_pair(random_scene(0, "val", k))
        light = pair.light.astype(np.float32)
        disparity = pair.truth.disparity.numpy()
        found = matched(display(light[:3]), display(light[5:8]), 48)
        error = np.abs(found - disparity)
        counted = (found >= 0) & ~pair.truth.occluded.numpy()
        clear = pair.truth.transparent.numpy()
        opaque.append(error[counted & ~clear].mean())
        glass.append(error[counted & clear].mean())
    assert np.mean(opaque) < 0.35
    assert np.mean(glass) > 1.5

"""`engine predict` on a real pair with its calibration; files from ENGINE_SHARED_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from conftest import Command

DESK = Path(os.environ["ENGINE_SHARED_DATA"]) / "oakd_nogt"
RECIPE = 'name = "sgbm"\nmodel = { plugin = "sgbm" }\ndata.val = { plugin = "motorcycle" }\n'


def test_a_desk_becomes_points_in_space(engine: Command, tmp_path: Path) -> None:
    (tmp_path / "sgbm.toml").write_text(RECIPE)
    pair = (DESK / "desk_left.png", DESK / "desk_right.png")
    done = engine("predict", "sgbm.toml", *pair, "--calibration", DESK / "stereodemo_calibration.json", "--out", ".")
    assert done.code == 0, done.err
    made = tmp_path / "desk_left"
    disparity = cv2.imread(str(made / "disparity.pfm"), cv2.IMREAD_UNCHANGED)
    stored = cv2.imread(str(made / "disparity.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, np.maximum(np.rint(disparity * 256), 1))

    matched = cv2.imread(str(made / "confidence.png"), cv2.IMREAD_UNCHANGED) == 255
    rows, columns = np.nonzero(matched & (disparity >= 1))
    _, body = (made / "cloud.ply").read_bytes().split(b"end_header\n", 1)
    place = np.frombuffer(body, np.dtype([("place", "<f4", 3), ("colour", "u1", 3)]))["place"]
    depth = 451.03445 * 0.075 / disparity[rows, columns]
    expected = [(columns - 299.03839) * depth / 451.03445, (rows - 255.16502) * depth / 451.03445, depth]
    np.testing.assert_allclose(place, np.stack(expected, -1), rtol=1e-3, atol=1e-3)
    assert 1 < np.median(depth) < 5  # m, as the file that came with the pair says

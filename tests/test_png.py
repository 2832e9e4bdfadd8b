"""PNG files of our own are read back by an image library as they were."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from engine.png import png


@pytest.mark.parametrize(("colours", "mode"), [(1, "P"), (7, "P"), (256, "P"), (257, "RGB"), (100_000, "RGB")])
def test_a_picture_is_read_back_as_it_was(colours: int, mode: str) -> None:
    numbers = np.random.default_rng(0)
    painted = numbers.choice(256**3, colours, replace=False)
    pixels = np.resize(painted, (41, 53))[..., None] >> np.array([16, 8, 0]) & 255

    read = Image.open(io.BytesIO(png(pixels.astype(np.uint8))))

    assert read.mode == mode
    assert np.array_equal(np.asarray(read.convert("RGB")), pixels)

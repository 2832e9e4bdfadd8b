"""Folders of pictures as data sets lay them out, with few pixels and values that a test knows."""

from pathlib import Path

import numpy as np
from engine_stereo.data.images import write_png
from engine_stereo.data.pfm import write_pfm
from engine_stereo.data.readers import READERS
from engine_stereo.plugin import factory

HEIGHT, WIDTH = 2, 4

MIDDLEBURY_CALIB = (
    "cam0=[100 0 2; 0 100 1; 0 0 1]\ncam1=[100 0 5; 0 100 1; 0 0 1]\ndoffs=3\nbaseline=200\nwidth=4\nheight=2\n"
)


def data_set(name, root, **options):
    """The data set that a recipe gets by its plugin's name."""
    model, lister = READERS[name]
    return factory(lister)(model(root=root, **options))


def picture(path, value, dtype=np.uint8, colour=True):
    """A picture that is `value` everywhere."""
    _write(path, np.full((HEIGHT, WIDTH, 3) if colour else (HEIGHT, WIDTH), value, dtype))


def codes(path, rows, dtype=np.uint8):
    """A PNG of these numbers."""
    _write(path, np.array(rows, dtype))


def pfm(path, rows, scale=-1.0):
    """A PFM of these numbers, with another size in its header's scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pfm(path, np.array(rows, np.float32))
    path.write_bytes(path.read_bytes().replace(b"\n-1\n", f"\n{scale}\n".encode(), 1))


def npy(path, rows):
    """A .npy file of these numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(rows, np.float32))


def text(path, content):
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def names(data):
    """(id, scene) of every example."""
    return [(frame.id, frame.scene) for frame in data.frames]


def values(sample, name):
    """A field of one channel as rows."""
    assert sample[name].shape[0] == 1
    return sample[name][0].tolist()


def colours(sample):
    """The one value of the left picture and the one of the right picture."""
    for view in ("left", "right"):
        assert sample[view].shape == (3, *sample["left"].shape[1:])
        assert len(np.unique(sample[view])) == 1
    return sample["left"].max(), sample["right"].max()


def _write(path: Path, stored):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, stored)

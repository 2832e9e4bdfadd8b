"""Damaged and hostile files of the Motorcycle pair: named, or nothing is lost, and nothing in them is run."""

import os
import shutil

import numpy as np
import pytest
from engine_stereo import motorcycle
from engine_stereo.motorcycle import Motorcycle
from engine_stereo.options import MotorcycleOptions
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DamagedDataError

pytest.importorskip("skimage", reason="the pair comes with scikit-image")

PARTS = {"disparity": "motorcycle_disp.npz", "left": "motorcycle_left.png", "right": "motorcycle_right.png"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A copy of the shipped files, which a test may spoil: array -> (file, what it says)."""
    folder = tmp_path_factory.mktemp("shipped")
    shipped = motorcycle._shipped_data()
    for name in PARTS.values():
        shutil.copy(shipped / name, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motorcycle, "_shipped_data", lambda: folder)
        yield {array: (folder / name, (folder / name).read_bytes()) for array, name in PARTS.items()}


@pytest.fixture(scope="module")
def whole(files):
    return read_or_refused()


def read_or_refused():
    try:
        return Motorcycle(MotorcycleOptions(scale=0.05)).sample(0, None)
    except DamagedDataError as error:
        return error


def read_spoilt(file, content, spoilt):
    file.write_bytes(spoilt)
    try:
        return read_or_refused()
    finally:
        file.write_bytes(content)


@settings(max_examples=40)
@given(
    st.sampled_from(list(PARTS)),
    st.sampled_from(["flipped", "cut", "zeros"]),
    st.one_of(st.floats(0, 1), st.floats(0.98, 1)),  # the directory of a zip and the last checksum of a PNG
)
def test_a_damaged_file_is_named_or_nothing_is_lost(files, whole, array, how, place):
    file, content = files[array]
    at = min(int(place * len(content)), len(content) - 1)
    flipped = bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]
    tail = {"flipped": flipped, "cut": b"", "zeros": bytes(len(content) - at)}[how]
    read = read_spoilt(file, content, content[:at] + tail)
    if isinstance(read, DamagedDataError):
        assert read.array == array
        assert str(file) in str(read)
    else:
        assert all(np.array_equal(read[name], value) for name, value in whole.items())


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_pickle_in_place_of_the_disparity_is_not_opened(files, tmp_path):
    file, content = files["disparity"]
    np.savez(tmp_path / "trap.npz", arr_0=np.array([Trap(tmp_path / "trace")], dtype=object))
    refused = read_spoilt(file, content, (tmp_path / "trap.npz").read_bytes())
    assert isinstance(refused, DamagedDataError)
    assert "allow_pickle" in str(refused)
    assert not (tmp_path / "trace").exists()

"""Every encoding: what is written is read again to half a stored unit, and damage is told in words."""

import builtins
import os
import shutil

import numpy as np
import pytest
from engine_stereo.data.encodings import PRESETS, Encoding, read_disparity, write_disparity
from engine_stereo.data.images import write_png
from engine_stereo.data.pfm import read_pfm, write_pfm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.errors import DamagedDataError, InputError, WorldError

# Encoding -> (the largest error of one round trip, the largest disparity), both px.
HELD = {
    "pfm": (Encoding(kind="pfm"), 0, 1e6),
    "kitti": (PRESETS["kitti"], 1 / 512, 255),
    "instereo2k": (PRESETS["instereo2k"], 1 / 200, 655),
    "crestereo": (PRESETS["crestereo"], 1 / 64, 2047),
    "npy": (Encoding(kind="npy", invalid=[0]), 0, 1e6),
    "npz": (Encoding(kind="npz", key="d"), 0, 1e6),
    "fsd": (Encoding(kind="fsd", invalid=[0]), 1 / 2000, 16_000),
    "sintel": (Encoding(kind="sintel", invalid=[0]), 2**-15, 1000),
    "spring": (PRESETS["spring"], 0, 1e6),
    "exr": (Encoding(kind="exr"), 0, 1e6),
}
KINDS = sorted(HELD)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_the_encodings_of_known_sets_are_as_their_validator_makes_them(preset):
    assert repr(Encoding.model_validate(preset.model_dump())) == repr(preset)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("encodings") / "file"


def _shapes():
    return arrays.array_shapes(min_dims=2, max_dims=2, max_side=7)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=15)
@given(data=st.data())
def test_a_round_trip_is_off_by_half_a_stored_unit_at_most(file, name, data):
    encoding, error, most = HELD[name]
    shape = data.draw(_shapes())
    # Below this a pixel rounds to 0, which means unknown, and is moved to the next value, a whole unit off.
    least = float(np.float32(2.01 * error)) if error else -most
    disparity = data.draw(arrays.arrays(np.float32, shape, elements=st.floats(least, most, width=32)))
    known = data.draw(arrays.arrays(bool, shape))
    write_disparity(file, disparity, known, encoding)
    read, told = read_disparity(file, encoding)
    assert read.dtype == np.float32
    assert np.array_equal(told, known)
    assert (read[~known] == 0).all()
    rounding = np.spacing(np.abs(disparity))  # of float32 itself
    assert (np.abs(read - disparity) <= error + rounding)[known].all()


def test_a_known_zero_is_not_taken_for_unknown(file):
    for name in ("kitti", "npy", "fsd", "sintel"):
        encoding, error, _ = HELD[name]
        write_disparity(file, np.zeros((2, 2)), np.array([[True, False]] * 2), encoding)
        read, told = read_disparity(file, encoding)
        assert told.tolist() == [[True, False]] * 2
        assert (read <= 2 * error + 1e-9).all()


@pytest.mark.parametrize(
    ("encoding", "disparity", "words"),
    [
        (PRESETS["kitti"], [[300.0]], "disparity from 300 to 300 px does not fit; expected 0 to 255.996 px"),
        (PRESETS["kitti"], [[-1.0]], "does not fit"),
        (PRESETS["middlebury"], [[np.nan]], "a known disparity is not finite"),
        (PRESETS["vkitti2"], [[1.0]], "not written as depth"),
    ],
)
def test_what_an_encoding_cannot_hold_is_refused(file, encoding, disparity, words):
    with pytest.raises(InputError, match=words):
        write_disparity(file, np.array(disparity), np.ones((1, 1), bool), encoding)


def test_unknown_pixels_need_a_value_that_says_so(file):
    with pytest.raises(InputError, match="1 pixels are unknown; expected 'invalid'"):
        write_disparity(file, np.ones((1, 2)), np.array([[True, False]]), Encoding(kind="fsd"))


# --- known values, as the sets' own files have them --------------------------------------------------------------


def _read(file, encoding):
    disparity, known = read_disparity(file, encoding)
    return disparity.tolist(), known.tolist()


def test_a_pfm_is_stored_from_the_bottom_up_and_only_the_sign_of_its_scale_counts(file):
    for scale, order in ((b"-0.003922", "<f4"), (b"-1", "<f4"), (b"1.0", ">f4")):
        rows = np.array([[3, np.inf], [1, 2]], order)  # the lower row comes first
        file.write_bytes(b"Pf\n2 2\n" + scale + b"\n" + rows.tobytes())
        assert _read(file, PRESETS["middlebury"]) == ([[1, 2], [3, 0]], [[True, True], [True, False]])


def test_a_pfm_in_colour_gives_its_first_channel(file):
    write_pfm(file, np.stack([np.full((2, 3), value) for value in (7.0, 8.0, 9.0)], axis=-1))
    assert read_pfm(file).shape == (2, 3, 3)
    assert _read(file, Encoding(kind="pfm"))[0] == [[7] * 3] * 2


def test_disparity_that_is_stored_negative_is_turned_where_the_encoding_says_so(file):
    write_pfm(file, np.array([[-5.0, 6.0]]))
    assert _read(file, PRESETS["sceneflow"])[0] == [[5, 6]]
    assert _read(file, PRESETS["middlebury"])[0] == [[-5, 6]]


def test_disparity_out_of_the_bounds_of_an_encoding_is_unknown(file):
    write_pfm(file, np.array([[-5.0, 0.0, 1.0, 512.0, 511.0]]))
    bounded = Encoding(kind="pfm", above=0, below=512)
    assert _read(file, bounded) == ([[0, 0, 1, 0, 511]], [[False, False, True, False, True]])
    with pytest.raises(InputError, match=r"1 known pixels would be read as unknown; .* above 0.0 px and below 512.0"):
        write_disparity(file, np.array([[0.0, 1.0]]), np.ones((1, 2), bool), bounded)


def test_png_values_are_divided_by_the_units_a_pixel(file):
    write_png(file, np.array([[0, 256, 257]], np.uint16))
    for name, one in (("kitti", 256), ("instereo2k", 100), ("crestereo", 32), ("drivingstereo_full", 128)):
        disparity, known = _read(file, PRESETS[name])
        assert disparity == [pytest.approx([0, 256 / one, 257 / one])]
        assert known == [[False, True, True]]
    write_png(file, np.array([[0, 43, 211]], np.uint8))
    assert _read(file, PRESETS["middlebury2006"]) == ([[0, 43, 211]], [[False, True, True]])


def test_colours_mean_what_fsd_and_sintel_say_red_first(file):
    write_png(file, np.array([[[1, 2, 3]]], np.uint8))
    assert _read(file, PRESETS["fsd"])[0][0][0] == pytest.approx((255**2 + 2 * 255 + 3) / 1000)
    assert _read(file, PRESETS["sintel"])[0][0][0] == pytest.approx(4 + 2 / 2**6 + 3 / 2**14)


def test_spring_stores_four_values_a_pixel_of_which_the_first_is_taken(file):
    import h5py

    with h5py.File(file, "w") as held:
        held["disparity"] = np.array([[1.5, 9, np.nan, 9], [9, 9, 9, 9]], np.float32)
    assert _read(file, PRESETS["spring"]) == ([[1.5, 0]], [[True, False]])


def test_depth_becomes_disparity(file):
    np.save(file.with_suffix(".npy"), np.array([[0.5, 8, np.inf, 0]], np.float32))
    assert _read(file.with_suffix(".npy"), PRESETS["tartanair"]) == ([[160, 10, 0, 0]], [[True, True, False, False]])
    write_png(file, np.array([[0, 7682, 65535]], np.uint16))
    assert _read(file, PRESETS["fallingthings"])[0] == [pytest.approx([0, 60, 7.033], abs=1e-3)]
    assert _read(file, PRESETS["vkitti2"])[0][0][1] == pytest.approx(725.0087 * 0.532725 / 76.82)
    assert _read(file, PRESETS["vkitti2"])[1] == [[False, True, False]]
    shifted = PRESETS["vkitti2"].model_copy(
        update={"depth": PRESETS["vkitti2"].depth.model_copy(update={"doffs": 2.0})}
    )
    assert _read(file, shifted)[0][0][1] == pytest.approx(725.0087 * 0.532725 / 76.82 - 2)


# --- damage --------------------------------------------------------------------------------------------------------

CHECKED = ("kitti", "crestereo", "instereo2k", "fsd", "sintel", "npz")
"""Encodings whose files carry checksums of all they hold: damage to those is found or harmless."""


class Files(dict):
    """name -> (file, content, what is read), which hypothesis need not print."""

    def __repr__(self):
        return "files"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every encoding's file and what is in it."""
    folder = tmp_path_factory.mktemp("whole")
    random = np.random.default_rng(0)
    made = {}
    for name, (encoding, _, _) in HELD.items():
        path = folder / name
        write_disparity(path, random.uniform(1, 60, (20, 24)), random.random((20, 24)) > 0.2, encoding)
        made[name] = (path, path.read_bytes(), read_disparity(path, encoding))
    return Files(made)


def _spoilt(files, name, spoilt):
    """What reading a spoilt file gives; any other exception than the two fails the test."""
    path, content, _ = files[name]
    path.write_bytes(spoilt)
    try:
        return read_disparity(path, HELD[name][0])
    except DamagedDataError as error:
        told = error.array, str(path) in str(error)
    finally:
        path.write_bytes(content)
    assert told == ("disparity", True)
    return None


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=25)
@given(place=st.one_of(st.floats(0, 1), st.floats(0, 0.1), st.floats(0.98, 1)), how=st.sampled_from(["flip", "zeros"]))
def test_an_altered_file_is_told_of_and_raises_nothing_else(files, name, place, how):
    content = files[name][1]
    at = min(int(place * len(content)), len(content) - 1)
    tail = bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :] if how == "flip" else bytes(len(content) - at)
    read = _spoilt(files, name, content[:at] + tail)
    if read is not None and name in CHECKED:
        assert all(np.array_equal(one, other) for one, other in zip(read, files[name][2], strict=True))


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=15)
@given(place=st.one_of(st.floats(0, 1), st.floats(0.98, 1)))
def test_a_file_that_is_cut_short_is_never_half_read(files, name, place):
    content = files[name][1]
    read = _spoilt(files, name, content[: min(int(place * len(content)), len(content) - 1)])
    if read is not None:  # the last bytes of some formats hold nothing
        assert all(np.array_equal(one, other) for one, other in zip(read, files[name][2], strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_half_a_file_is_damaged(files, name):
    content = files[name][1]
    assert _spoilt(files, name, content[: len(content) // 2]) is None
    assert _spoilt(files, name, b"") is None


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_another_kind_is_damaged(files, name):
    other = "kitti" if name not in ("kitti", "fsd", "sintel", "crestereo", "instereo2k") else "npy"
    assert _spoilt(files, name, files[other][1]) is None


@pytest.mark.parametrize("name", KINDS)
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(WorldError, match=r"gone.*No such file") as refused:
        read_disparity(tmp_path / "gone", HELD[name][0])
    assert not isinstance(refused.value, DamagedDataError)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize(("kind", "suffix"), [("npy", ".npy"), ("npz", ".npz")])
def test_a_pickle_is_not_opened(tmp_path, kind, suffix):
    path = tmp_path / f"trap{suffix}"
    held = np.array([[Trap(tmp_path / "trace")]], dtype=object)
    np.save(path, held) if kind == "npy" else np.savez(path, disparity=held)
    with pytest.raises(DamagedDataError):
        read_disparity(path, Encoding(kind=kind))
    assert not (tmp_path / "trace").exists()


def test_an_array_that_is_not_there_is_named_with_those_that_are(tmp_path):
    np.savez(tmp_path / "d.npz", depth=np.ones((2, 2)))
    with pytest.raises(DamagedDataError, match="no array 'disparity'; it has depth"):
        read_disparity(tmp_path / "d.npz", Encoding(kind="npz"))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 4)])
def test_an_array_that_is_no_picture_is_damaged(tmp_path, shape):
    np.save(tmp_path / "d.npy", np.ones(shape))
    with pytest.raises(DamagedDataError, match="a disparity is"):
        read_disparity(tmp_path / "d.npy", Encoding(kind="npy"))


@pytest.mark.parametrize(("kind", "module", "extra"), [("dsp5", "h5py", "hdf5"), ("exr", "OpenEXR", "exr")])
def test_a_library_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, kind, module, extra):
    shutil.copy(__file__, tmp_path / "d")
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name == module:
            raise ImportError(f"No module named {name!r}")
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(WorldError, match=rf'pip install "experiment-engine\[{extra}\]"') as refused:
        read_disparity(tmp_path / "d", Encoding(kind=kind))
    assert not isinstance(refused.value, DamagedDataError)

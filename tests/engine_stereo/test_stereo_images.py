import numpy as np
import pytest
from engine_stereo.data.images import read_image, read_mask, read_raw, write_image, write_png
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from engine.errors import DamagedDataError, WorldError


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("images") / "picture.png"


@given(
    st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda dtype: arrays.arrays(dtype, st.sampled_from([(1, 1), (4, 5), (1, 1, 3), (4, 5, 3), (3, 1, 3)]))
    )
)
def test_numbers_are_read_as_they_were_written_in_colour_of_16_bits_too(file, stored):
    write_png(file, stored)
    read = read_raw(file)
    assert read.dtype == stored.dtype
    assert np.array_equal(read, stored)


def test_16_bits_become_the_range_of_8_without_rounding(file):
    write_png(file, np.array([[[0, 32768, 65535]]], np.uint16))
    assert read_image(file)[:, 0, 0].tolist() == pytest.approx([0, 127.50195, 255])


def test_grey_is_replicated_and_alpha_dropped(file):
    for mode, value, expected in (
        ("L", 7, [7, 7, 7]),
        ("LA", (7, 9), [7, 7, 7]),
        ("RGBA", (1, 2, 3, 9), [1, 2, 3]),
        ("1", 1, [255, 255, 255]),
    ):
        Image.new(mode, (4, 2), value).save(file)
        picture = read_image(file)
        assert (picture.dtype, picture.shape) == (np.float32, (3, 2, 4))
        assert picture[:, 0, 0].tolist() == expected


def test_jpeg_and_tiff_are_read(tmp_path):
    Image.new("RGB", (16, 8), (10, 200, 60)).save(tmp_path / "p.jpg", quality=100)
    assert read_image(tmp_path / "p.jpg")[:, 4, 4] == pytest.approx([10, 200, 60], abs=2)
    Image.new("RGB", (16, 8), (10, 200, 60)).save(tmp_path / "p.tiff")
    assert read_image(tmp_path / "p.tiff")[:, 4, 4].tolist() == [10, 200, 60]
    Image.fromarray(np.full((8, 16), 40_000, np.uint16)).save(tmp_path / "g.tiff")
    assert read_raw(tmp_path / "g.tiff").tolist() == [[40_000] * 16] * 8


def test_a_picture_is_written_rounded(file):
    write_image(file, np.array([-3, 1.6, 300.0]).reshape(3, 1, 1))
    assert read_raw(file)[0, 0].tolist() == [0, 2, 255]


def test_a_mask_is_where_the_value_is_one_of_those_asked_for(file):
    write_png(file, np.array([[0, 128, 255]], np.uint8))
    assert read_mask(file).tolist() == [[False, True, True]]
    assert read_mask(file, (128,)).tolist() == [[False, True, False]]
    assert read_mask(file, (0, 255)).tolist() == [[True, False, True]]


def test_a_mask_of_a_palette_compares_the_index_and_a_picture_shows_the_colour(file):
    picture = Image.new("P", (2, 1))
    picture.putpalette([9, 9, 9, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    picture.save(file)
    assert read_mask(file).tolist() == [[False, True]]
    assert read_image(file)[:, 0, 1].tolist() == [200, 100, 50]


def test_a_mask_may_be_an_array(tmp_path):
    np.save(tmp_path / "m.npy", np.array([[True, False]]))
    assert read_mask(tmp_path / "m.npy").tolist() == [[True, False]]


def test_a_file_that_is_no_picture_is_told_in_words(tmp_path):
    (tmp_path / "notes.md").write_text("# no picture")
    with pytest.raises(DamagedDataError, match=r"notes\.md: this is no picture that Pillow knows$"):
        read_image(tmp_path / "notes.md", "left")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WorldError, match=r"gone\.png: No such file") as refused:
        read_image(tmp_path / "gone.png")
    assert not isinstance(refused.value, DamagedDataError)


class Contents(dict):
    """suffix -> (content, what is read), which hypothesis need not print."""

    def __repr__(self):
        return "contents"


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    random = np.random.default_rng(0).integers(0, 2**16, (30, 40, 3), dtype=np.uint16)
    write_png(folder / "p16.png", random)
    write_png(folder / "p8.png", (random >> 8).astype(np.uint8))
    Image.fromarray((random >> 8).astype(np.uint8)).save(folder / "p.jpg")
    Image.fromarray(random[..., 0]).save(folder / "p.tiff", compression="tiff_adobe_deflate")
    Image.fromarray(random[..., 0]).save(folder / "raw.tiff")
    return Contents({path.name: (path.read_bytes(), read_raw(path)) for path in folder.iterdir()})


NAMES = ("p16.png", "p8.png", "p.jpg", "p.tiff", "raw.tiff")


def _read(path, data):
    path.write_bytes(data)
    try:
        return read_raw(path, "left")
    except DamagedDataError as error:
        told = error.array, str(path) in str(error)
    assert told == ("left", True)
    return None


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(place=st.one_of(st.floats(0, 1), st.floats(0, 0.1), st.floats(0.98, 1)), how=st.sampled_from(["flip", "zeros"]))
def test_an_altered_picture_raises_nothing_else(contents, tmp_path_factory, name, place, how):
    content, whole = contents[name]
    at = min(int(place * len(content)), len(content) - 1)
    tail = bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :] if how == "flip" else bytes(len(content) - at)
    read = _read(tmp_path_factory.getbasetemp() / name, content[:at] + tail)
    if read is not None and name.endswith(".png"):  # the others have no checksums
        assert np.array_equal(read, whole)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(place=st.one_of(st.floats(0, 1), st.floats(0.98, 1)))
def test_a_picture_that_is_cut_short_is_never_half_read(contents, tmp_path_factory, name, place):
    content, whole = contents[name]
    read = _read(tmp_path_factory.getbasetemp() / name, content[: min(int(place * len(content)), len(content) - 1)])
    if read is not None:
        assert np.array_equal(read, whole)


@pytest.mark.parametrize("name", ["p16.png", "p8.png"])
def test_the_last_checksum_of_a_png_is_checked_too(contents, tmp_path, name):
    content, _ = contents[name]
    at = len(content) - 13  # before the 12 bytes of the closing chunk
    assert _read(tmp_path / name, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]) is None

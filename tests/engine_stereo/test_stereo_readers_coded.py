"""Sets that store disparity in codes of their own, in their layouts."""

import h5py
import numpy as np
import pytest
from stereo_trees import HEIGHT, WIDTH, codes, colours, data_set, names, npy, picture, text, values

from engine.errors import DamagedDataError, InputError


@pytest.fixture
def fsd(tmp_path):
    for environment in ("cafe", "mine"):
        data = tmp_path / environment / "dataset/data"
        picture(data / "left/rgb/0000.jpg", 10)
        picture(data / "right/rgb/0000.jpg", 20)
        # (R, G, B) to the base 255: 65025 R + 255 G + B thousandths of a px.
        rows = [[(0, 0, 255), (0, 1, 0), (1, 0, 0), (1, 2, 3)], [(0, 196, 20), (3, 254, 254), (0, 0, 0), (2, 0, 1)]]
        codes(data / "left/disparity/0000.png", rows)
    return tmp_path


def test_fsd_counts_to_the_base_255_with_red_first(fsd):
    data = data_set("fsd", fsd)
    assert names(data) == [("cafe/0000", "cafe"), ("mine/0000", "mine")]
    sample = data.sample(0, None)
    assert colours(sample) == (10, 20)
    expected = [[0.255, 0.255, 65.025, 65.538], [50.0, 260.099, 0, 130.051]]
    assert np.allclose(values(sample, "disparity"), expected, rtol=1e-6)
    assert sample["valid"].all()  # no code means unknown
    assert "focal" not in sample


@pytest.fixture
def crestereo(tmp_path):
    for subset in ("hole", "reflective", "shapenet", "tree"):
        picture(tmp_path / subset / "7_left.jpg", 10)
        picture(tmp_path / subset / "7_right.jpg", 20)
        codes(tmp_path / subset / "7_left.disp.png", [[0, 32, 48, 6400], [1, 65535, 0, 320]], np.uint16)
    return tmp_path


def test_crestereo_has_32_units_a_px(crestereo):
    data = data_set("crestereo", crestereo)
    assert [name for name, _ in names(data)] == ["hole/7", "reflective/7", "shapenet/7", "tree/7"]
    sample = data.sample(1, None)
    assert colours(sample) == (10, 20)
    assert values(sample, "disparity") == [[0, 1, 1.5, 200], [1 / 32, 65535 / 32, 0, 10]]
    assert values(sample, "valid") == [[False, True, True, True], [True, True, False, True]]


def test_crestereo_takes_the_subsets_that_are_asked_for(crestereo):
    assert names(data_set("crestereo", crestereo, subsets=["tree", "tree"])) == [("tree/7", "tree/7")]
    for file in (crestereo / "hole").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="hole"):
        data_set("crestereo", crestereo)


@pytest.fixture
def instereo2k(tmp_path):
    for pair in ("train/part1/000001", "train/part2/000001", "test/000003"):
        picture(tmp_path / pair / "left.png", 10)
        picture(tmp_path / pair / "right.png", 20)
        codes(tmp_path / pair / "left_disp.png", [[0, 100, 1024, 12345], [1, 65535, 0, 50]], np.uint16)
    return tmp_path


def test_instereo2k_has_100_units_a_px(instereo2k):
    data = data_set("instereo2k", instereo2k)
    assert [name for name, _ in names(data)] == ["part1/000001", "part2/000001"]
    sample = data.sample(0, None)
    assert colours(sample) == (10, 20)
    expected = [[0, 1, 10.24, 123.45], [0.01, 655.35, 0, 0.5]]
    assert np.allclose(values(sample, "disparity"), expected, rtol=1e-6)
    assert values(sample, "valid") == [[False, True, True, True], [True, True, False, True]]
    assert names(data_set("instereo2k", instereo2k, split="test")) == [("000003", "000003")]


@pytest.fixture
def sintel(tmp_path):
    training = tmp_path / "training"
    for frame in ("frame_0001", "frame_0002"):
        for render, value in (("clean", 10), ("final", 30)):
            picture(training / f"{render}_left/alley_1/{frame}.png", value)
            picture(training / f"{render}_right/alley_1/{frame}.png", value + 10)
        rows = [[(0, 0, 0), (1, 0, 0), (0, 64, 0), (0, 0, 128)], [(10, 32, 64), (255, 255, 255), (2, 1, 0), (3, 0, 0)]]
        codes(training / f"disparities/alley_1/{frame}.png", rows)
        codes(training / f"occlusions/alley_1/{frame}.png", [[0, 255, 0, 0], [0, 0, 0, 0]])
        codes(training / f"outofframe/alley_1/{frame}.png", [[255, 0, 0, 0], [0, 0, 0, 255]])
    return tmp_path


def test_sintel_has_4_px_a_red_and_knows_what_both_views_show(sintel):
    data = data_set("sintel", sintel)
    assert names(data) == [("alley_1/frame_0001", "alley_1"), ("alley_1/frame_0002", "alley_1")]
    sample = data.sample(1, None)
    assert colours(sample) == (10, 20)
    assert values(sample, "valid") == [[False, False, True, True], [True, True, True, False]]
    expected = [[0, 0, 1, 128 / 2**14], [40.5 + 64 / 2**14, 1020 + 255 / 64 + 255 / 2**14, 8 + 1 / 64, 0]]
    assert values(sample, "disparity") == np.float32(expected).tolist()
    assert set(sample) == {"left", "right", "disparity", "valid", "id", "scene"}
    assert colours(data_set("sintel", sintel, render="final").sample(0, None)) == (30, 40)


@pytest.mark.parametrize("mask", ["occlusions", "outofframe"])
def test_sintel_without_a_mask_is_refused(sintel, mask):
    for file in (sintel / "training" / mask / "alley_1").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=f"{mask}.*frame_0001.*is not there"):
        data_set("sintel", sintel)


@pytest.fixture
def spring(tmp_path):
    for split in ("train", "test"):
        for number in (1, 2):
            for side, value in (("left", 10), ("right", 20)):
                picture(tmp_path / split / f"0001/frame_{side}/frame_{side}_{number:04}.png", value)
    disparity = np.full((2 * HEIGHT, 2 * WIDTH), 999, np.float32)
    disparity[::2, ::2] = [[1.5, 2, np.nan, 40], [0, 7.25, np.inf, 8]]
    for number in (1, 2):
        path = tmp_path / f"train/0001/disp1_left/disp1_left_{number:04}.dsp5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["disparity"] = disparity
    text(tmp_path / "train/0001/cam_data/intrinsics.txt", "100 101 960 540\n110 111 960 540\n")
    return tmp_path


def test_spring_takes_every_second_value_and_halves_none(spring):
    data = data_set("spring", spring)
    assert names(data) == [("0001/0001", "0001"), ("0001/0002", "0001")]
    sample = data.sample(1, None)
    assert colours(sample) == (10, 20)
    assert values(sample, "disparity") == [[1.5, 2, 0, 40], [0, 7.25, 0, 8]]
    assert values(sample, "valid") == [[True, True, False, True], [True, True, False, True]]
    assert (sample["focal"], sample["baseline"]) == (110, np.float32(0.065))


def test_spring_has_no_truth_for_its_test_and_reads_without_cameras(spring):
    sample = data_set("spring", spring, split="test").sample(0, None)
    assert set(sample) == {"left", "right", "id", "scene"}


def test_spring_with_fewer_cameras_than_frames_is_refused(spring):
    text(spring / "train/0001/cam_data/intrinsics.txt", "100 101 960 540\n")
    with pytest.raises(DamagedDataError, match="it has 1 lines, and there is a frame 2"):
        data_set("spring", spring)


@pytest.fixture
def unrealstereo4k(tmp_path):
    for scene in ("00000", "00008"):
        picture(tmp_path / scene / "Image0/00002.png", 10)
        picture(tmp_path / scene / "Image1/00002.png", 20)
        npy(tmp_path / scene / "Disp0/00002.npy", [[1.5, 2, np.nan, 400], [0.25, np.inf, 3, 8]])
    return tmp_path


def test_unrealstereo4k_has_px(unrealstereo4k):
    data = data_set("unrealstereo4k", unrealstereo4k)
    assert names(data) == [("00000/00002", "00000"), ("00008/00002", "00008")]
    sample = data.sample(0, None)
    assert colours(sample) == (10, 20)
    assert values(sample, "disparity") == [[1.5, 2, 0, 400], [0.25, 0, 3, 8]]
    assert values(sample, "valid") == [[True, True, False, True], [True, False, True, True]]


@pytest.fixture
def nerfstereo(tmp_path):
    for sequence, baseline in (("0007", "baseline_0.10"), ("0007", "baseline_0.30"), ("0012", "baseline_0.30")):
        folder = tmp_path / sequence / "Q"
        picture(folder / "center/IMG_1.jpg", 10)
        picture(folder / baseline / "left/IMG_1.jpg", 30)
        picture(folder / baseline / "right/IMG_1.jpg", 20)
        codes(folder / "AO/IMG_1.png", [[65535, 32768, 32769, 0], [65535, 65535, 65535, 65535]], np.uint16)
        codes(folder / baseline / "disparity/IMG_1.png", [[64, 64, 96, 64], [0, 1, 32767, 32768]], np.uint16)
    return tmp_path


def test_nerfstereo_has_64_units_a_px_where_its_confidence_is_above_a_half(nerfstereo):
    data = data_set("nerfstereo", nerfstereo)
    assert names(data) == [
        ("0007/baseline_0.10/IMG_1", "0007"),
        ("0007/baseline_0.30/IMG_1", "0007"),
        ("0012/baseline_0.30/IMG_1", "0012"),
    ]
    sample = data.sample(0, None)
    assert colours(sample) == (10, 20)
    assert values(sample, "valid") == [[True, False, True, False], [False, True, True, False]]
    assert values(sample, "disparity") == [[1, 0, 1.5, 0], [0, 1 / 64, 32767 / 64, 0]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fsd", "'*/dataset/data/left/rgb/*.jpg'"),
        ("crestereo", "'hole/*_left.jpg'"),
        ("instereo2k", "'train/part*/*/left.png'"),
        ("sintel", "'training/clean_left/*/*.png'"),
        ("spring", "'train/*/frame_left/frame_left_*.png'"),
        ("unrealstereo4k", "'*/Image0/*.png'"),
        ("nerfstereo", "'*/Q/center/*.jpg'"),
    ],
)
def test_a_missing_partner_is_named_and_a_wrong_root_is_told_the_layout(name, expected, request):
    root = request.getfixturevalue(name)
    with pytest.raises(InputError) as told:
        data_set(name, root / "none")
    assert "there is no such folder" in str(told.value)
    assert expected in str(told.value)
    for what in ("right", "disparity"):
        gone = getattr(data_set(name, root).frames[0], what)
        content = gone.read_bytes()
        gone.unlink()
        with pytest.raises(InputError, match=f"{what} of .* is not there") as told:
            data_set(name, root)
        assert str(gone) in str(told.value)
        gone.write_bytes(content)

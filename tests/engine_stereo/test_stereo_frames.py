from dataclasses import replace

import numpy as np
import pytest
from engine_stereo.data.calibration import Calibration, read_calibration
from engine_stereo.data.encodings import PRESETS, write_disparity
from engine_stereo.data.frames import Frame, Frames, FramesOptions, MaskFile
from engine_stereo.data.images import write_image, write_png

from engine.errors import DamagedDataError, InputError, WorldError

HEIGHT, WIDTH = 12, 20


@pytest.fixture
def frame(tmp_path):
    """A pair whose disparity is 4 px left of column 8 and 6 px right of it, unknown in the first row."""
    random = np.random.default_rng(0)
    for side in ("left", "right"):
        write_image(tmp_path / f"{side}.png", random.uniform(0, 255, (3, HEIGHT, WIDTH)))
    disparity = np.where(np.arange(WIDTH) < 8, 4.0, 6.0) * np.ones((HEIGHT, 1))
    known = np.arange(HEIGHT)[:, None] > 0
    write_disparity(tmp_path / "d.png", disparity, known & np.ones((1, WIDTH), bool), PRESETS["kitti"])
    regions = np.where(np.arange(WIDTH) < 8, 2, 3) * np.ones((HEIGHT, 1))
    write_png(tmp_path / "classes.png", regions.astype(np.uint8))
    return Frame(
        "one",
        "room",
        tmp_path / "left.png",
        tmp_path / "right.png",
        tmp_path / "d.png",
        PRESETS["kitti"],
        {"transparent": MaskFile(tmp_path / "classes.png", (3,))},
        calibration=Calibration(focal=100, baseline=0.1, doffs=8),
    )


def sample_of(frame, rng=None, **options):
    return Frames([frame], FramesOptions(**options)).sample(0, rng)


def test_a_sample_has_the_fields_that_its_files_hold(frame):
    sample = sample_of(frame)
    shapes = {name: value.shape for name, value in sample.items() if isinstance(value, np.ndarray)}
    picture, one = (3, HEIGHT, WIDTH), (1, HEIGHT, WIDTH)
    assert shapes == {"left": picture, "right": picture, "disparity": one, "valid": one, "transparent": one}
    assert sample["disparity"][0, 1, 7:9].tolist() == [4, 6]
    assert (sample["valid"][0].sum(1) == [0] + [WIDTH] * (HEIGHT - 1)).all()
    assert sample["transparent"][0, 5, 7:9].tolist() == [False, True]
    assert (sample["focal"], sample["baseline"], sample["doffs"]) == (100, np.float32(0.1), 8)
    assert (sample["id"], sample["scene"]) == ("one", "room")


def test_without_ground_truth_there_is_neither_disparity_nor_valid(frame):
    bare = replace(frame, disparity=None, masks={}, calibration=None)
    assert sample_of(bare).keys() == {"left", "right", "id", "scene"}


def test_the_mask_valid_narrows_what_is_known(frame):
    masks = {"valid": MaskFile(frame.masks["transparent"].path, (3,), inverted=True)}
    sample = sample_of(replace(frame, masks=masks))
    assert (sample["valid"][0].sum(1) == [0] + [8] * (HEIGHT - 1)).all()
    assert (sample["disparity"][~sample["valid"]] == 0).all()


def test_scaling_samples_the_truth_and_shrinks_it_with_the_width(frame):
    sample = sample_of(frame, scale=0.5)
    assert sample["left"].shape == (3, HEIGHT // 2, WIDTH // 2)
    assert set(np.unique(sample["disparity"][sample["valid"]])) == {2, 3}  # nothing between the two sides
    assert sample["disparity"][0, 3, 3:5].tolist() == [2, 3]
    assert (sample["focal"], sample["baseline"], sample["doffs"]) == (50, np.float32(0.1), 4)
    assert 0 <= sample["left"].min() <= sample["left"].max() <= 255


def test_the_crop_is_the_same_window_of_every_field(frame):
    whole = sample_of(frame)
    middle = sample_of(frame, crop=(4, 10))
    for name in ("left", "right", "disparity", "valid", "transparent"):
        assert np.array_equal(middle[name], whole[name][:, 4:8, 5:15])
    drawn = [sample_of(frame, np.random.default_rng(seed), crop=(4, 10)) for seed in (1, 1, 2, 3)]
    assert np.array_equal(drawn[0]["left"], drawn[1]["left"])
    assert any(not np.array_equal(drawn[0]["left"], other["left"]) for other in drawn[2:])


def test_a_crop_that_does_not_fit_is_refused_with_both_sizes(frame):
    with pytest.raises(InputError, match="a crop of 30 x 4 px does not fit in one, which is 20 x 12 px"):
        sample_of(frame, crop=(4, 30))


@pytest.mark.parametrize("part", ["right", "disparity", "transparent"])
def test_parts_of_another_size_are_refused_with_both_files(frame, part):
    path = {"right": frame.right, "disparity": frame.disparity, "transparent": frame.masks["transparent"].path}[part]
    write_png(path, np.ones((3, 5, 3), np.uint8) if part == "right" else np.ones((3, 5), np.uint16))
    with pytest.raises(InputError, match=f"{part} of one is 5 x 3 px") as refused:
        sample_of(frame)
    assert str(path) in str(refused.value)
    assert str(frame.left) in str(refused.value)


@pytest.mark.parametrize("part", ["left", "disparity", "transparent"])
def test_a_damaged_part_is_named_with_the_example(frame, part):
    path = {"left": frame.left, "disparity": frame.disparity, "transparent": frame.masks["transparent"].path}[part]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedDataError) as damaged:
        sample_of(frame)
    assert (damaged.value.array, damaged.value.sample) == (part, "one")
    assert str(path) in damaged.value.reason


def test_an_index_that_is_not_there_is_an_index_error(frame):
    with pytest.raises(IndexError):
        Frames([frame], FramesOptions()).sample(1, None)


# --- parts ---------------------------------------------------------------------------------------------------------


def _many(frame, scenes, each=2):
    return [
        replace(frame, id=f"{scene}/{index}", scene=f"s{scene}") for scene in range(scenes) for index in range(each)
    ]


def _ids(frames, **options):
    return [frame.id for frame in Frames(frames, FramesOptions(**options)).frames]


def test_the_parts_share_no_scene_and_leave_none_out(frame):
    frames = _many(frame, 200)
    train, val = (Frames(frames, FramesOptions(part=part, val_share=0.2)) for part in ("train", "val"))
    assert not set(train.scenes()) & set(val.scenes())
    assert len(train) + len(val) == 400
    assert len(val) / 400 == pytest.approx(0.2, abs=0.06)


def test_a_scene_stays_on_its_side_when_others_come_or_the_order_changes(frame):
    frames = _many(frame, 60)
    val = set(_ids(frames, part="val", val_share=0.3))
    assert val & {each.id for each in frames[:60]} == set(_ids(frames[:60][::-1], part="val", val_share=0.3))
    assert val != set(_ids(frames, part="val", val_share=0.3, split_seed=1))


def test_limit_takes_the_first_of_the_part(frame):
    frames = _many(frame, 30)
    assert _ids(frames, part="train", limit=3) == _ids(frames, part="train")[:3]


def test_a_part_without_scenes_is_refused_with_a_seed_that_has_some(frame):
    frames = _many(frame, 3)
    empty = next(seed for seed in range(100) if len(_ids(frames, part="train", split_seed=seed)) == len(frames))
    with pytest.raises(InputError, match="part 'val' has none of the 3 scenes") as refused:
        Frames(frames, FramesOptions(part="val", split_seed=empty))
    seed = int(refused.value.advice.split("split_seed = ")[1].split()[0])
    assert Frames(frames, FramesOptions(part="val", split_seed=seed)).scenes() in [[f"s{n}"] * 2 for n in range(3)]
    with pytest.raises(InputError, match="a split needs more scenes"):
        Frames(_many(frame, 1), FramesOptions(part="val", val_share=0.001))


def test_scenes_of_two_folders_are_not_taken_for_one(frame, tmp_path):
    one, other = (Frames([frame], FramesOptions(), tmp_path / name).scenes() for name in "ab")
    assert one != other


# --- calibration ---------------------------------------------------------------------------------------------------

FILES = {
    "calib.txt": (
        "cam0=[994.978 0 311.193; 0 994.978 254.877; 0 0 1]\ncam1=[994.978 0 342.279; 0 994.978 254.877; 0 0 1]\n"
        "doffs=31.086\nbaseline=193.001\nwidth=741\n",
        Calibration(994.978, 0.193001, 31.086, (311.193, 254.877)),
    ),
    "000000.txt": (  # KITTI 2012
        "P0: 700 0 600 0 0 700 180 0 0 0 1 0\nP2: 700 0 600 42 0 700 180 0 0 0 1 0\n"
        "P3: 700 0 605 -336 0 700 180 0 0 0 1 0\n",
        Calibration(700, 0.54, 5, (600, 180)),
    ),
    "000001.txt": (  # KITTI 2015
        "calib_time: 09-Jan-2012\nP_rect_02: 700 0 600 42 0 700 180 0 0 0 1 0\n"
        "P_rect_03: 700 0 600 -336 0 700 180 0 0 0 1 0\n",
        Calibration(700, 0.54, 0, (600, 180)),
    ),
    "calib_00-02.xml": (
        '<?xml version="1.0"?><opencv_storage><mtxL type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt>'
        "<data>5000. 0. 2000. 0. 5000. 1500. 0. 0. 1.</data></mtxL>"
        '<proj_matR type_id="opencv-matrix"><data>5000. 0. 2010. -4e5 0. 5000. 1500. 0. 0. 0. 1. 0.</data></proj_matR>'
        "<baselineLR>-80.</baselineLR></opencv_storage>",
        Calibration(5000, 0.08, 10, (2000, 1500)),
    ),
    "stereodemo.json": (
        '{"width": 640, "height": 480, "baseline_meters": 0.075, "fx": 451.0, "fy": 451.0, "cx0": 299, "cx1": 300.5, '
        '"cy": 255, "depth_range": [1.0, 5.0]}',
        Calibration(451, 0.075, 1.5, (299, 255)),
    ),
}


@pytest.mark.parametrize("name", list(FILES))
def test_calibration_is_read_by_what_the_file_is(tmp_path, name):
    text, expected = FILES[name]
    (tmp_path / name).write_text(text)
    read = read_calibration(tmp_path / name)
    assert (read.focal, read.baseline, read.doffs) == pytest.approx((expected.focal, expected.baseline, expected.doffs))
    assert read.centre == pytest.approx(expected.centre)


@pytest.mark.parametrize("name", list(FILES))
@pytest.mark.parametrize(
    "spoilt", [lambda text: "", lambda text: text[: len(text) // 3], lambda text: "cam0=[a]\nP2: b"]
)
def test_a_calibration_that_misses_a_value_is_damaged(tmp_path, name, spoilt):
    (tmp_path / name).write_text(spoilt(FILES[name][0]))
    with pytest.raises(DamagedDataError, match=name):
        read_calibration(tmp_path / name)


def test_a_calibration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WorldError, match=r"calib\.txt: No such file"):
        read_calibration(tmp_path / "calib.txt")

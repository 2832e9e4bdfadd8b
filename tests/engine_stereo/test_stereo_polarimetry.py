import math

import numpy as np
import pytest
from engine_stereo.data.frames import Frame, Frames, FramesOptions, Polarization
from engine_stereo.data.images import write_image, write_png
from engine_stereo.data.options import PolarimetryOptions
from engine_stereo.data.polarimetry import intensities, oriented, read, redundancy, turn_of

from engine.errors import DamagedDataError, InputError

# 0, 45, 90 and 135 degrees: S0 40000, S1 10000, S2 -4000, hence q = 0.25 and u = -0.1.
FOUR = dict(zip((0, 45, 90, 135), (25000, 18000, 15000, 22000), strict=True))
QU = (0.25, -0.1)
SONY = ((90, 45), (135, 0))
COLOUR = [  # the cell as its data sheet draws it
    "R90 R45 G90 G45",
    "R135 R0 G135 G0",
    "G90 G45 B90 B45",
    "G135 G0 B135 B0",
]


def saved(path, rows, dtype=np.uint16):
    write_png(path, np.asarray(rows, dtype))
    return path


def mono(path, height=8, width=12, values=FOUR):
    cell = [[values[angle] for angle in row] for row in SONY]
    return saved(path, np.tile(cell, (height // 2, width // 2)))


def constant(vector):
    assert vector.dtype == np.float32
    return np.allclose(vector, np.reshape(QU, (2, 1, 1)), atol=1e-6)


@pytest.mark.parametrize(("mosaic", "shape"), [("decimate", (2, 4, 6)), ("interpolate", (2, 8, 12))])
def test_a_mono_mosaic_has_90_45_over_135_0(tmp_path, mosaic, shape):
    vector, told = read("dofp_mono", [mono(tmp_path / "raw.png")], PolarimetryOptions(mosaic=mosaic))
    assert vector.shape == shape
    assert constant(vector)
    assert told.shape == shape[1:]
    assert told.all()


def test_interpolation_is_exact_on_a_ramp_away_from_the_border(tmp_path):
    rows, columns = np.mgrid[:10, :14]
    saved(tmp_path / "ramp.png", 1000 + 300 * rows + 70 * columns)  # the same light behind each angle
    planes = intensities("dofp_mono", [tmp_path / "ramp.png"]).planes
    expected = (1000 + 300 * rows + 70 * columns) / 65535
    inside = (slice(1, -1), slice(1, -1))
    for plane in planes[:, 0]:
        assert np.allclose(plane[inside], expected[inside], atol=1e-6)


@pytest.mark.parametrize(("mosaic", "shape"), [("decimate", (2, 2, 3)), ("interpolate", (2, 8, 12))])
def test_a_colour_mosaic_is_a_bayer_pattern_of_blocks(tmp_path, mosaic, shape):
    gain = {"R": 2.0, "G": 1.0, "B": 0.5}
    cell = [[gain[site[0]] * FOUR[int(site[1:])] for site in row.split()] for row in COLOUR]
    file = saved(tmp_path / "raw.png", np.tile(cell, (2, 3)))
    options = PolarimetryOptions(mosaic=mosaic)
    vector, told = read("dofp_colour", [file], options)
    assert vector.shape == shape
    assert constant(vector)
    assert told.all()
    planes = intensities("dofp_colour", [file], options).planes
    for channel, factor in enumerate(gain.values()):
        for plane, stored in zip(planes[:, channel], FOUR.values(), strict=True):
            assert np.allclose(plane, factor * stored / 65535, atol=1e-6)


def test_four_files_are_0_45_90_135_in_this_order(tmp_path):
    files = [saved(tmp_path / f"{angle}.png", np.full((3, 5), value)) for angle, value in FOUR.items()]
    vector, told = read("angles", files)
    assert vector.shape == (2, 3, 5)
    assert constant(vector)
    assert told.all()
    swapped, _ = read("angles", [files[2], files[1], files[0], files[3]])
    assert np.allclose(swapped[:, 0, 0], (-0.25, -0.1), atol=1e-6)


def test_tiles_are_0_and_45_above_90_and_135(tmp_path):
    tile = np.ones((3, 5, 3))
    rows = [[tile * FOUR[0], tile * FOUR[45]], [tile * FOUR[90], tile * FOUR[135]]]
    file = saved(tmp_path / "pol.png", np.concatenate([np.concatenate(row, 1) for row in rows]))
    vector, told = read("tiles", [file])
    assert vector.shape == (2, 3, 5)
    assert constant(vector)
    assert told.all()


def test_dolp_is_in_blue_and_aolp_in_green(tmp_path):
    stored = np.zeros((2, 3, 3))
    stored[..., 2] = 5000  # DoLP 0.5
    stored[..., 1] = round(1e4 * math.radians(150))
    stored[0, 0, 2] = 10001  # more than all of the light
    vector, told = read("dolp_aolp", [saved(tmp_path / "clp.png", stored)])
    assert told.tolist() == [[False, True, True], [True, True, True]]
    assert vector[:, 0, 0].tolist() == [0, 0]
    assert np.allclose(
        vector[:, 1, 1], (0.5 * math.cos(math.radians(300)), 0.5 * math.sin(math.radians(300))), atol=1e-4
    )


def test_dolp_and_aolp_in_other_channels_are_refused(tmp_path):
    stored = np.zeros((2, 3, 3))
    stored[..., 0], stored[..., 1] = 5000, 20000
    with pytest.raises(DamagedDataError, match="red and blue are exchanged"):
        read("dolp_aolp", [saved(tmp_path / "rgb.png", stored)])
    stored[..., 1] = 40000
    with pytest.raises(DamagedDataError, match="angle of 4 rad"):
        read("dolp_aolp", [saved(tmp_path / "angle.png", stored)])
    with pytest.raises(DamagedDataError, match="3 channels of 16 bits"):
        read("dolp_aolp", [saved(tmp_path / "bytes.png", stored[..., 0] / 1000, np.uint8)])


@pytest.mark.parametrize("value", [0, 49, 65001])
def test_a_dark_or_clipped_angle_leaves_nothing_told(tmp_path, value):
    files = [saved(tmp_path / f"{angle}.png", np.full((3, 5), stored)) for angle, stored in FOUR.items()]
    changed = np.full((3, 5), FOUR[135])
    changed[1, 2], changed[1, 3] = value, np.clip(value, 50, 65000)
    saved(files[3], changed)
    vector, told = read("angles", files)
    assert np.argwhere(~told).tolist() == [[1, 2]]
    assert vector[:, 1, 2].tolist() == [0, 0]


def test_every_pixel_interpolated_from_a_clipped_one_is_not_told(tmp_path):
    raw = np.tile([[FOUR[angle] for angle in row] for row in SONY], (4, 6))
    raw[4, 6] = 65535  # of 90 degrees
    file = saved(tmp_path / "raw.png", raw)
    _, told = read("dofp_mono", [file])
    assert np.argwhere(~told).tolist() == [[row, column] for row in (3, 4, 5) for column in (5, 6, 7)]
    _, told = read("dofp_mono", [file], PolarimetryOptions(mosaic="decimate"))
    assert np.argwhere(~told).tolist() == [[2, 3]]


def test_white_is_what_a_full_sensor_stores(tmp_path):
    values = {angle: value // 16 for angle, value in FOUR.items()}
    values[0] = 4090
    _, told = read("dofp_mono", [mono(tmp_path / "raw.png", values=values)])
    assert told.all()
    _, told = read("dofp_mono", [tmp_path / "raw.png"], PolarimetryOptions(white=4095))
    assert not told.any()


def test_redundancy_is_least_where_the_pairing_is_right():
    random = np.random.default_rng(0)
    s0 = random.uniform(1, 2, (20, 30))
    phi = random.uniform(0, np.pi, (20, 30))
    i = [s0 / 2 * (1 + 0.3 * np.cos(2 * (np.radians(angle) - phi))) for angle in (0, 45, 90, 135)]
    right = redundancy(*i)
    assert right.as_stated < 1e-12
    assert min(right.pairs_0_45, right.pairs_0_135) > 0.1
    exchanged_45_90 = redundancy(i[0], i[2], i[1], i[3])
    assert exchanged_45_90.pairs_0_45 < 1e-12
    exchanged_0_45 = redundancy(i[1], i[0], i[2], i[3])
    assert exchanged_0_45.pairs_0_135 < 1e-12
    assert redundancy(i[2], i[1], i[0], i[3]).as_stated < 1e-12  # what it cannot see
    off = [each.copy() for each in i]
    off[0][0] += 5
    told = np.arange(20)[:, None] > np.zeros((1, 30))
    assert redundancy(*off).as_stated > 0.01
    assert redundancy(*off, told).as_stated < 1e-12
    with pytest.raises(ValueError, match="no pixel with light"):
        redundancy(*(np.zeros((2, 2)),) * 4)


def test_redundancy_does_not_see_a_mosaic_cut_at_an_odd_row_or_column():
    values = dict(zip((0, 45, 90, 135), (5.0, 6.0, 3.0, 2.0), strict=True))
    cell = np.array([[values[angle] for angle in row] for row in SONY])
    for axis in (0, 1, (0, 1)):
        (i90, i45), (i135, i0) = np.roll(cell, 1, axis)
        assert redundancy(i0, i45, i90, i135).as_stated == 0


def test_a_mean_over_unequal_light_is_a_ratio_of_means():
    i = [np.array([1.0, 10.0]), np.array([1.0, 10.0]), np.array([1.0, 10.0]), np.array([1.5, 10.0])]
    assert redundancy(*i).as_stated == pytest.approx(0.5 / (2.25 + 20))


def test_the_camera_angle_and_its_sign_turn_the_vector(tmp_path):
    file = mono(tmp_path / "raw.png")
    q, u = QU
    for options, expected in (
        ({"angle_sign": -1}, (q, -u)),
        ({"angle_left": 90}, (-q, -u)),
        ({"angle_left": 45}, (-u, q)),
        ({"angle_left": 45, "angle_sign": -1}, (u, q)),
        ({"angle_right": 45}, (q, u)),
    ):
        vector, _ = read("dofp_mono", [file], PolarimetryOptions(**options))
        assert np.allclose(vector[:, 0, 0], expected, atol=1e-6), options
    vector, _ = read("dofp_mono", [file], PolarimetryOptions(angle_right=45), "right")
    assert np.allclose(vector[:, 0, 0], (-u, q), atol=1e-6)


def test_rectification_turns_by_its_part_about_the_optical_axis():
    cosine, sine = math.cos(0.2), math.sin(0.2)
    # x right and y down: this turns a picture counter-clockwise, as (1, 0) goes to (cos, -sin).
    about_z = ((cosine, sine, 0), (-sine, cosine, 0), (0, 0, 1))
    assert turn_of(0, about_z) == pytest.approx(0.2)
    assert turn_of(10, about_z) == pytest.approx(0.2 + math.radians(10))
    assert turn_of(0, ((cosine, 0, sine), (0, 1, 0), (-sine, 0, cosine))) == 0  # a pan
    vector = oriented(np.reshape((1.0, 0.0), (2, 1, 1)), turn=0.2)[:, 0, 0]
    assert math.atan2(vector[1], vector[0]) / 2 == pytest.approx(0.2, abs=1e-6)


def test_any_rectification_turns_as_the_projected_axis_does():
    cv2 = pytest.importorskip("cv2")
    rotation, _ = cv2.Rodrigues(np.array([0.05, -0.11, 0.3]))
    ahead = rotation @ (0, 0, 1)
    beside = rotation @ (1e-6, 0, 1)
    step = beside[:2] / beside[2] - ahead[:2] / ahead[2]
    assert turn_of(0, rotation.tolist()) == pytest.approx(math.atan2(-step[1], step[0]), abs=1e-5)


def test_files_that_are_no_such_layout_are_named(tmp_path):
    with pytest.raises(DamagedDataError, match="no whole number of 4 x 4 cells"):
        read("dofp_colour", [mono(tmp_path / "raw.png", 6, 12)])
    with pytest.raises(DamagedDataError, match="a mosaic has one"):
        read("dofp_mono", [saved(tmp_path / "rgb.png", np.zeros((4, 4, 3)))])
    with pytest.raises(DamagedDataError, match="four tiles need even sides"):
        read("tiles", [saved(tmp_path / "odd.png", np.zeros((5, 4, 3)))])
    files = [saved(tmp_path / f"{angle}.png", np.zeros((3, 5 + (angle == 90)))) for angle in FOUR]
    with pytest.raises(DamagedDataError, match=r"90\.png: it has the shape"):
        read("angles", files)
    with pytest.raises(ValueError, match="no intensities"):
        intensities("dolp_aolp", files[:1])


def frames(*frames, **options):
    return Frames(frames, FramesOptions(**options))


def test_an_example_whose_picture_is_a_mosaic_has_the_mean_over_the_angles(tmp_path):
    files = [mono(tmp_path / f"{side}.png") for side in ("left", "right")]
    polarization = Polarization("dofp_mono", (files[0],), (files[1],))
    sample = frames(Frame("one", "room", *files, polarization=polarization)).sample(0, None)
    assert constant(sample["polarization_left"])
    assert constant(sample["polarization_right"])
    linear = 20000 / 65535
    assert np.allclose(sample["left"], 255 * (1.055 * linear ** (1 / 2.4) - 0.055), atol=1e-3)
    assert sample["left"].shape == sample["right"].shape == (3, 8, 12)


def test_options_of_polarimetry_reach_each_view(tmp_path):
    files = [mono(tmp_path / f"{side}.png") for side in ("left", "right")]
    frame = Frame("one", "room", *files, polarization=Polarization("dofp_mono", (files[0],), (files[1],)))
    options = {"mosaic": "decimate", "angle_right": 90.0}
    sample = frames(frame, polarimetry=options).sample(0, None)
    assert sample["left"].shape == (3, 4, 6)
    assert np.allclose(sample["polarization_left"], -sample["polarization_right"], atol=1e-6)


def test_a_single_view_has_no_right_and_its_own_polarization(tmp_path):
    file = mono(tmp_path / "raw.png")
    frame = Frame("one", "room", file, None, polarization=Polarization("dofp_mono", (file,), ()))
    sample = frames(frame, crop=(4, 6)).sample(0, None)
    assert sample.keys() == {"left", "polarization_left", "id", "scene"}
    assert sample["polarization_left"].shape == (2, 4, 6)


def test_polarization_of_another_size_than_the_picture_is_named(tmp_path):
    write_image(tmp_path / "left.png", np.zeros((3, 8, 12)))
    file = mono(tmp_path / "raw.png")
    frame = Frame("one", "room", tmp_path / "left.png", None, polarization=Polarization("dofp_mono", (file,), ()))
    with pytest.raises(InputError, match=r"polarization_left of one is 6 x 4 px: .*raw.png"):
        frames(frame, polarimetry={"mosaic": "decimate"}).sample(0, None)


def test_polarimetry_without_polarization_is_refused(tmp_path):
    with pytest.raises(InputError, match="'polarimetry' has no effect"):
        frames(Frame("one", "room", tmp_path / "l.png", tmp_path / "r.png"), polarimetry={"angle_left": 3})

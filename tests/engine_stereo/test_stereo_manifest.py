"""One's own folder: the same rows in three forms, stars, and every mistake told with its place."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from engine_stereo.data.encodings import PRESETS, Encoding, write_disparity
from engine_stereo.data.images import write_image, write_png
from engine_stereo.data.manifest import manifest
from engine_stereo.data.manifest_keys import KEYS
from engine_stereo.data.options import ManifestOptions
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineError, InputError, WorldError

FOUR_LINES = 'left = "left/*.png"\nright = "right/*.png"\ndisparity = "disp/*.png"\nencoding = "kitti"\n'


@pytest.fixture
def folder(tmp_path):
    """Three pairs; the disparity of number i is i + 1 px."""
    for index in range(3):
        for side in ("left", "right"):
            (tmp_path / side).mkdir(exist_ok=True)
            write_image(tmp_path / side / f"{index:03}.png", np.full((3, 4, 6), 60 * index))
        (tmp_path / "disp").mkdir(exist_ok=True)
        known = np.ones((4, 6), bool)
        write_disparity(tmp_path / "disp" / f"{index:03}.png", np.full((4, 6), index + 1), known, PRESETS["kitti"])
    return tmp_path


def listed(folder, text, name="own.toml", **options):
    (folder / name).write_text(text)
    return manifest(ManifestOptions(file=folder / name, **options))


def refused(folder, text, name="own.toml"):
    """What is told, a line a mistake, without the folder."""
    with pytest.raises(InputError) as error:
        listed(folder, text, name)
    return [str(problem).replace(f"{folder}/", "") for problem in error.value.problems]


def test_four_lines_list_a_folder(folder):
    data = listed(folder, FOUR_LINES)
    assert [frame.id for frame in data.frames] == ["left/000", "left/001", "left/002"]
    assert [data.sample(index, None)["disparity"].max() for index in range(3)] == [1, 2, 3]
    assert [data.sample(index, None)["left"].max() for index in range(3)] == [0, 60, 120]


def test_the_colours_of_fsds_digits_stand_in_the_order_that_is_told(folder):
    encoding = PRESETS["fsd"].model_copy(update={"digits": "grb"})
    for index in range(3):
        write_disparity(folder / f"disp/{index:03}.png", np.full((4, 6), 70 + index), np.ones((4, 6), bool), encoding)
    text = FOUR_LINES.replace("kitti", "fsd") + 'digits = "%s"\n'
    assert [listed(folder, text % "grb").sample(index, None)["disparity"].max() for index in range(3)] == [70, 71, 72]
    assert refused(folder, text % "rgg") == [
        "own.toml:5: 'digits' is 'rgg'; expected 'rgb', 'rbg', 'grb', 'gbr', 'brg' or 'bgr'"
    ]


ROW = {
    "left": "left/001.png",
    "right": "right/002.png",
    "disparity": "disp/000.png",
    "per_px": 128,
    "invalid": [0, 7],
    "mask.glass": "disp/001.png",
    "mask.glass.values": [512],
    "mask.glass.inverted": True,
    "focal": 500,
    "baseline": 0.1,
    "scene": "kitchen",
    "id": "one",
}


def _csv_text(value):
    if isinstance(value, list):
        return ";".join(map(str, value))
    return json.dumps(value) if isinstance(value, bool) else str(value)


def test_csv_jsonl_and_toml_say_the_same(folder):
    nested = {key: value for key, value in ROW.items() if "mask" not in key}
    nested["mask"] = {"glass": {"file": "disp/001.png", "values": [512], "inverted": True}}
    toml = "[[frame]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in ROW.items() if "mask" not in key)
    toml += 'mask.glass = { file = "disp/001.png", values = [512], inverted = true }\n'
    texts = {
        "own.csv": f"{','.join(ROW)}\n{','.join(map(_csv_text, ROW.values()))}\n\n",
        "flat.jsonl": json.dumps(ROW) + "\n\n",
        "nested.jsonl": json.dumps(nested),
        "own.toml": toml,
    }
    frames = {name: listed(folder, text, name).frames for name, text in texts.items()}
    (first,) = frames.pop("own.csv")
    assert first.encoding == Encoding(kind="png", per_px=128, invalid=[0, 7])
    assert (first.masks["glass"].values, first.masks["glass"].inverted) == ((512,), True)
    assert (first.calibration.focal, first.scene, first.id) == (500, "kitchen", "one")
    assert all(other == [first] for other in frames.values())


def test_what_stands_above_the_frames_holds_for_all_of_them(folder):
    text = 'encoding = "kitti"\nscene = "hall"\n'
    for index in range(3):
        text += f'[[frame]]\nleft = "left/{index:03}.png"\nright = "right/{index:03}.png"\n'
        text += f'disparity = "disp/{index:03}.png"\n' if index else ""
    frames = listed(folder, text).frames
    assert [frame.scene for frame in frames] == ["hall"] * 3
    assert [frame.encoding for frame in frames] == [None, PRESETS["kitti"], PRESETS["kitti"]]


def test_the_right_views_truth_may_be_listed_too(folder):
    row = {key: ROW[key] for key in ("left", "right", "disparity", "per_px", "scene")}
    (frame,) = listed(folder, json.dumps(row | {"disparity_right": "disp/000.png"}), "own.jsonl").frames
    assert frame.disparity_right == folder / "disp/000.png"
    with pytest.raises(InputError, match="'disparity_right' has no effect without 'disparity'"):
        listed(
            folder,
            json.dumps({"left": row["left"], "right": row["right"], "disparity_right": "disp/000.png"}),
            "b.jsonl",
        )


def test_the_root_is_where_paths_begin(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert len(listed(elsewhere, FOUR_LINES, root=folder)) == 3
    absolute = FOUR_LINES.replace('"left/', f'"{folder}/left/').replace('"right/', f'"{folder}/right/')
    assert len(listed(elsewhere, absolute.replace('"disp/', f'"{folder}/disp/'))) == 3


def test_stars_name_scenes_masks_and_calibrations(folder):
    for scene in ("a", "b"):
        for name in ("l", "r"):
            (folder / scene / "seq").mkdir(parents=True, exist_ok=True)
            for index in (1, 2):
                write_image(folder / scene / "seq" / f"{name}_{index}.png", np.zeros((3, 4, 6)))
        write_png(folder / scene / "glass.png", np.ones((4, 6), np.uint8))
        baseline = 100 if scene == "a" else 200
        (folder / scene / "calib.txt").write_text(f"cam0=[5 0 1; 0 5 1; 0 0 1]\ndoffs=0\nbaseline={baseline}\n")
    text = 'left = "*/seq/l_*.png"\nright = "*/seq/r_*.png"\nscene = "*"\nid = "*-*"\n'
    text += 'mask.glass = "*/glass.png"\ncalibration = "*/calib.txt"'
    frames = listed(folder, text).frames
    assert [(frame.id, frame.scene) for frame in frames] == [("a-1", "a"), ("a-2", "a"), ("b-1", "b"), ("b-2", "b")]
    assert [frame.calibration.baseline for frame in frames] == pytest.approx([0.1, 0.1, 0.2, 0.2])
    assert frames[3].masks["glass"].path == folder / "b" / "glass.png"
    deep = text.replace("*/seq/l_*", "**/l_*").replace("*/seq/r_*", "**/r_*").split("scene")[0]
    assert [frame.right.parent for frame in listed(folder, deep).frames] == [frame.right.parent for frame in frames]


def test_depth_becomes_disparity_by_the_calibration(folder):
    np.save(folder / "z.npy", np.full((4, 6), 2000.0))
    text = 'left = "left/000.png"\nright = "right/000.png"\ndisparity = "z.npy"\ndepth_unit = 0.001\n'
    sample = listed(folder, text + "focal = 100\nbaseline = 0.5\ndoffs = 5\n").sample(0, None)
    assert sample["disparity"].max() == 20
    assert refused(folder, text) == [
        "own.toml:4: depth becomes disparity by a calibration; expected 'calibration', or 'focal' and 'baseline'"
    ]


def test_polarisation_has_as_many_files_as_its_layout(folder):
    names = [f"left/{index:03}.png" for index in (0, 1, 2, 0)]
    row = {"left": names[0], "right": "right/000.png", "polarization_layout": "angles"}
    row |= {"polarization_left": names, "polarization_right": ";".join(names)}
    (frame,) = listed(folder, json.dumps(row), "own.jsonl").frames
    assert frame.polarization.left == frame.polarization.right == tuple(folder / name for name in names)
    row["polarization_layout"] = "tiles"
    told = refused(folder, json.dumps(row), "own.jsonl")
    assert told[0].endswith("'polarization_left' names 4 files; expected 1 in the layout 'tiles'")
    row["polarization_layout"] = "angels"
    assert refused(folder, json.dumps(row), "own.jsonl")[0].endswith("Did you mean 'angles'?")


def test_the_guide_has_four_lines_that_work_and_every_key(folder):
    guide = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    (folder / "disp").rename(folder / "disparity")
    assert len(listed(folder, re.search(r"```toml\n(.*?)```", guide, re.DOTALL)[1])) == 3
    options = set(ManifestOptions.model_fields) - {"file"}
    assert {f"`{name}`" for name in (*KEYS, *PRESETS, *options)} <= set(re.findall(r"^\| (`\S+`)", guide, re.MULTILINE))


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once_with_its_line_and_column(folder):
    text = "left,rigth,disparity,per_px\n"
    text += "left/000.png,right/000.png,disp/000.png,x\n"
    text += "left/0001.png,right/001.png,disp/001.png,-1\n"
    text += "left/002.png\n"
    told = refused(folder, text, "own.csv")
    assert told == [
        "own.csv:4: this row has 1 cells; expected 4 as the first line names columns",
        "own.csv:2, column 'rigth': unknown key 'rigth' (and in 1 more places). Did you mean 'right'?",
        "own.csv:2, column 'per_px': 'per_px' is 'x'; expected a number",
        "own.csv:2: 'right' is missing (and in 1 more places); expected a path",
        "own.csv:3, column 'per_px': 'per_px' is -1.0; expected greater than 0",
        "own.csv:3, column 'left': 'left' is 'left/0001.png': this file is not there. "
        "Did you mean '001.png' or '000.png'?",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("kitti", "kiti"), "own.toml:4: there is no encoding 'kiti'. Did you mean 'kitti' or 'vkitti2'?"),
        (("kitti", "middlebury"), "own.toml:4: the encoding 'middlebury' is a pfm file, and 'disp/*.png' is not"),
        (
            ('encoding = "kitti"', ""),
            "own.toml:3: how 'disp/*.png' stores disparity is not known; expected 'encoding', ",
        ),
        (("left/*", "lefft/*"), "own.toml:1: 'left' is 'lefft/*.png': no file fits. Did you mean 'left'?"),
        (
            ("left/*.png", "left/*.jpg"),
            "own.toml:1: 'left' is 'left/*.jpg': no file fits; expected a name in left, which",
        ),
        (("right/*", "right/*_*"), "own.toml:2: 'right/*_*.png' has 2 stars; expected at most 1, as in 'left'"),
        (
            ("right/*.png", "right/000.png"),
            "own.toml:2: one 'right' for 3 left pictures; expected a star, as in 'left'",
        ),
        (("left/*.png", "left/000.png"), "own.toml:2: 'right' has a star, and 'left' has none"),
        (("left/*.png", "left"), "own.toml:1: 'left' is 'left': this is a folder; expected a file"),
        (('right = "right/*.png"', "right = 3"), "own.toml:2: 'right' is 3; expected a path"),
        (('"kitti"', '"kitti'), "own.toml:4: this is no TOML"),
        (("encoding", "focal = 3\nencoding"), "own.toml:4: 'focal' without 'baseline'; expected both"),
        (("encoding", 'id = "x"\nencoding'), "own.toml: 3 examples have the id 'x'; expected each id once; say 'id'"),
        (("encoding", 'mask.left = "left/*.png"\nencoding'), "own.toml:4: a mask cannot be named 'left'"),
        (("encoding", "mask.m.values = [1]\nencoding"), "own.toml:4: 'mask.m.values' without 'mask.m'"),
        (("encoding", 'calibration = "own.toml"\nencoding'), "own.toml:4: "),
        (
            ("encoding", 'digits = "bgr"\nencoding'),
            "own.toml:4: 'digits' has no effect on a png file; expected the enc",
        ),
        (('disparity = "disp/*.png"', ""), "own.toml:4: 'encoding' has no effect without 'disparity'"),
        (("encoding", "frame = 3\nencoding"), "own.toml:4: 'frame' is no array of tables; expected [[frame]]"),
    ],
)
def test_a_mistake_is_told_with_its_line(folder, change, expected):
    told = refused(folder, FOUR_LINES.replace(*change))
    assert any(line.startswith(expected) for line in told)


def test_partners_that_are_missing_are_named_from_both_sides(folder):
    (folder / "disp" / "001.png").rename(folder / "disp" / "099.png")
    assert refused(folder, FOUR_LINES) == [
        "own.toml:3: 1 of 3 left pictures have no 'disparity': disp/001.png",
        "own.toml:3: 1 files fit 'disp/*.png' and have no left picture: disp/099.png",
    ]


def test_many_mistakes_are_counted_and_not_all_told(folder):
    rows = "".join(f'{{"left": "left/x{index}.png", "right": "right/000.png"}}\n' for index in range(200))
    told = refused(folder, rows, "own.jsonl")
    assert told[-1] == "own.jsonl: 150 more mistakes"
    assert len(told) == 51


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("own.csv", "", "it lists nothing"),
        ("own.csv", "left;right\na;b\n", "the columns are not separated by commas"),
        ("own.csv", "left,left\na,b\n", "two columns are named 'left'"),
        ("own.csv", 'left,right\n"a,b\n', "this is no CSV"),
        ("own.jsonl", "[1]\n", "this is no JSON object"),
        ("own.jsonl", "{\n", "this is no JSON"),
        ("own.yaml", "left: a", "one of .csv, .jsonl, .toml"),
    ],
)
def test_a_file_in_the_wrong_form_is_told_of(folder, name, text, words):
    assert words in refused(folder, text, name)[0]


def test_a_manifest_that_is_not_there_is_named_with_its_like(folder):
    (folder / "own.toml").write_text(FOUR_LINES)
    with pytest.raises(WorldError, match=r"own\.tml.*|No such file.*Did you mean 'own\.toml'"):
        manifest(ManifestOptions(file=folder / "owm.toml"))


PLAIN = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
VALUES = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=4), PLAIN, max_size=3)
NAMES = st.sampled_from(
    [*ROW, "valid", "encoding", "calibration", "polarization_left", "polarization_layout", "depth_unit"]
)


@given(row=st.dictionaries(NAMES | st.text(max_size=6), VALUES, max_size=6), whole=st.booleans())
def test_any_row_is_listed_or_refused_in_words(tmp_path_factory, row, whole):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(json.dumps({**({"left": "any.jsonl", "right": "any.jsonl"} if whole else {}), **row}))
    try:
        assert len(manifest(ManifestOptions(file=path))) == 1
    except EngineError as error:
        assert isinstance(error, InputError)  # noqa: PT017 -- both ends are fine, and only this kind of refusal


@given(text=st.text(max_size=60) | st.binary(max_size=60), suffix=st.sampled_from([".csv", ".jsonl", ".toml"]))
def test_any_text_is_refused_in_words(tmp_path_factory, text, suffix):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError):
        manifest(ManifestOptions(file=path))


def test_a_recipe_trains_on_a_manifest_and_points_at_its_mistakes(folder, engine, toy_recipe):
    (folder / "own.toml").write_text(FOUR_LINES.replace("kitti", "kiti"))
    recipe = toy_recipe(data={"train": {"plugin": "manifest", "file": "own.toml"}})
    outcome = engine("run", recipe)
    assert outcome.code == 2
    assert "own.toml:4: there is no encoding 'kiti'" in " ".join(outcome.err.split())

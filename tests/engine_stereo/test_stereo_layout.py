"""What every reader of a published set says of a wrong folder and of files that are missing."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.readers import READERS, layout
from stereo_trees import MIDDLEBURY_CALIB, codes, data_set, pfm, picture, text

from engine.errors import DamagedDataError, InputError

SCENES = ("Piano", "Pipes")


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "sets" / "MiddEval3"
    for scene in SCENES:
        folder = root / "trainingQ" / scene
        picture(folder / "im0.png", 10)
        picture(folder / "im1.png", 20)
        pfm(folder / "disp0GT.pfm", np.ones((2, 4)))
        codes(folder / "mask0nocc.png", np.full((2, 4), 255))
        text(folder / "calib.txt", MIDDLEBURY_CALIB)
    return root


def _refused(root, name="middeval3", **options):
    options = {"resolution": "Q"} | options if name == "middeval3" else options
    with pytest.raises(InputError) as error:
        data_set(name, root, **options)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("file", "what"),
    [("im1.png", "right"), ("disp0GT.pfm", "disparity"), ("mask0nocc.png", "occluded"), ("calib.txt", "calibration")],
)
def test_a_missing_partner_is_named(tree, file, what):
    gone = tree / "trainingQ" / "Pipes" / file
    gone.unlink()
    assert _refused(tree) == [f"{gone}: {what} of trainingQ/Pipes/im0.png is not there"]


def test_every_missing_partner_is_told_up_to_a_number_that_can_be_read(tree):
    for number in range(layout.SHOWN + 3):
        picture(tree / "trainingQ" / f"Extra{number:02}" / "im0.png", 1)
        shutil.copytree(tree / "trainingQ/Piano", tree / "trainingQ" / f"Extra{number:02}", dirs_exist_ok=True)
        (tree / "trainingQ" / f"Extra{number:02}" / "im1.png").unlink()
    told = _refused(tree)
    assert "Extra00/im1.png: right of trainingQ/Extra00/im0.png is not there" in told[0]
    assert len(told) == layout.SHOWN + 1
    assert told[-1] == f"{tree}: 3 more files are not there"


@pytest.mark.parametrize("file", ["mask0nocc.png", "calib.txt"])
def test_what_no_example_has_is_left_out_of_all(tree, file):
    for scene in SCENES:
        (tree / "trainingQ" / scene / file).unlink()
    fields = data_set("middeval3", tree, resolution="Q").sample(0, None).keys()
    gone = {"occluded"} if file == "mask0nocc.png" else {"focal", "baseline", "doffs"}
    assert (
        fields
        == {"left", "right", "disparity", "valid", "occluded", "focal", "baseline", "doffs", "id", "scene"} - gone
    )


def test_a_folder_too_high_or_too_low_is_answered_with_the_layout_and_the_right_one(tree):
    expected = "expected 'trainingQ/*/im0.png' with 'trainingQ/*/im1.png' with 'trainingQ/*/disp0GT.pfm'"
    for wrong in (tree.parent, tree / "trainingQ", tree / "trainingQ" / "Piano"):
        assert _refused(wrong) == [f"{wrong}: the pictures are not there; {expected}. Did you mean '{tree}'?"]
    absent = tree / "trainingq"
    assert _refused(absent) == [f"{absent}: there is no such folder; {expected}. Did you mean '{tree}'?"]


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_reader_answers_an_empty_folder_with_its_layout(name, tmp_path):
    required = {"resolution": "H", "size": "half"}
    options = {key: value for key, value in required.items() if key in READERS[name][0].model_fields}
    told = _refused(tmp_path, name, **options)
    assert all(line.startswith(f"{tmp_path}: the pictures are not there; expected '") for line in told)


def test_a_calibration_that_cannot_be_read_is_named_when_the_set_is_made(tree):
    text(tree / "trainingQ" / "Pipes" / "calib.txt", "cam0=[1 2")
    with pytest.raises(DamagedDataError, match=r"Pipes/calib\.txt"):
        data_set("middeval3", tree, resolution="Q")


def test_nothing_else_is_opened_before_a_sample_is_asked_for(tree):
    for file in (tree / "trainingQ" / "Pipes").iterdir():
        if file.suffix != ".txt":
            file.write_bytes(b"no picture")
    data = data_set("middeval3", tree, resolution="Q")
    assert data.sample(0, None)["id"] == "Piano"
    with pytest.raises(DamagedDataError, match="sample Pipes"):
        data.sample(1, None)


def test_the_guide_tells_the_options_and_masks_of_every_set_that_it_lists():
    guide = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|$", guide.split("## Published sets")[1], re.MULTILINE)
    assert {name for name, *_ in rows} == set(READERS)
    for name, _, options, _ in rows:
        own = set(READERS[name][0].model_fields) - set(FramesOptions.model_fields) - {"root"}
        assert {option for option in own if f"`{option}`" not in options} == set(), name

"""`engine data inspect` on pairs with a known mistake each: it is found, named, and ends with 2; right pairs pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine_stereo.data.encodings import PRESETS, write_disparity
from engine_stereo.data.images import write_image
from engine_stereo.data.inspection import StereoInspection
from engine_stereo.options import StereoInspectionOptions
from stereo_pairs import ORDER, PLAIN, POLARISED, pair, write_pair

pytest.importorskip("matplotlib", reason="the sheet is drawn with matplotlib")
cv2 = pytest.importorskip("cv2", reason="16-bit pictures are written with OpenCV")


def mirrored(made):
    """The pair in a mirror: each camera is the other one, and the disparity is that of the right view."""
    return {key: value[..., ::-1] for key, value in made.items()}


def exchanged(made):
    return {**made, "left": made["right"], "right": made["left"]}


MISTAKES = {
    "sign": (lambda made: {**made, "disparity": -made["disparity"]}, "the disparity has the wrong sign", -1),
    "double": (lambda made: {**made, "disparity": 2 * made["disparity"]}, "twice as large as it should be", 0.5),
    "half": (lambda made: {**made, "disparity": made["disparity"] / 2}, "half as large as it should be", 2),
    "quarter": (lambda made: {**made, "disparity": made["disparity"] / 4}, "1/4 as large as it should be", 4),
    "kitti": (lambda made: {**made, "disparity": 256 * made["disparity"]}, "256 times as large", 1 / 256),
    "resized": (lambda made: {**made, "disparity": made["disparity"] / 0.75}, "1.33", 0.75),
    "exchanged": (exchanged, "left and right pictures are exchanged", 1),
    "mirrored": (mirrored, "left and right are exchanged, the disparity with them", -1),
}


@pytest.fixture
def inspected(engine, tmp_path):
    """inspected(change, manifest): exit code, and the findings by level, of three pairs that are changed first."""

    def inspect(change=lambda made: made, manifest=PLAIN, order=ORDER, count=3):
        for seed in range(count):
            write_pair(tmp_path, f"{seed}", change(pair(seed)), order)
        (tmp_path / "own.toml").write_text(manifest)
        outcome = engine("data", "inspect", "own.toml", "--json")
        assert outcome.code in (0, 2), outcome.err
        (found,) = json.loads(outcome.out)["sets"]
        levels = {level: [] for level in ("error", "warning", "note")}
        for each in found["findings"]:
            levels[each["level"]].append(each)
        return outcome.code, levels, found

    return inspect


def test_a_right_set_passes_and_is_told_to_be_right(inspected, tmp_path):
    code, levels, found = inspected(manifest=POLARISED)
    assert code == 0
    assert levels["error"] == levels["warning"] == []
    assert any("sign and scale of the disparity are right" in each["what"] for each in levels["note"])
    assert found["figures"]["disparity, median, px"] == pytest.approx(9, abs=0.5)
    assert found["figures"]["AoLP of both views agrees"] > 0.95
    (sheet,) = found["pictures"]
    assert cv2.imread(str(tmp_path / sheet)).std() > 10


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_figures(inspected, name):
    change, words, scale = MISTAKES[name]
    code, levels, _ = inspected(change)
    assert code == 2
    (error,) = levels["error"]
    assert words in error["what"]
    assert error["figures"]["scale"] == pytest.approx(scale, rel=0.03)
    assert error["advice"]


def test_one_wrong_pair_of_three_is_a_warning_that_names_it(inspected, tmp_path):
    inspected()
    write_pair(tmp_path, "1", {**pair(1), "disparity": pair(1)["disparity"] / 2})
    code, levels, _ = again(inspected)
    assert code == 0
    (warning,) = levels["warning"]
    assert "in 1 of 3 samples: l/1" in warning["what"]


def again(inspected):
    """The same files once more."""
    return inspected(count=0)


def test_a_missing_offset_of_the_principal_points_is_told(inspected):
    manifest = PLAIN + "focal = 500\nbaseline = 0.1\ndoffs = 6\n"
    code, levels, _ = inspected(lambda made: {**made, "disparity": made["disparity"] + 6}, manifest)
    assert code == 2
    assert "made with the offset of the principal points" in levels["error"][0]["what"]


def test_pairs_of_other_moments_have_nothing_to_do_with_each_other(inspected, tmp_path):
    inspected()
    for seed in range(3):
        write_pair(tmp_path, f"{seed}", {**pair(seed), "right": pair(seed + 10)["right"]})
    code, levels, _ = again(inspected)
    assert code == 2
    assert "nothing to do with the pictures in 3 of 3" in levels["error"][0]["what"]


def flat(made):
    return {**made, "left": made["left"] * 0.01 + 100, "right": made["right"] * 0.01 + 100}


@pytest.mark.parametrize("change", [flat, lambda made: {**made, "disparity": made["disparity"] * 0.001}])
def test_what_cannot_be_told_is_not_accused(inspected, change):
    code, levels, _ = inspected(change)
    told = [each["what"] for each in levels["error"]]
    assert not any("wrong sign" in what or "exchanged" in what for what in told)
    if change is flat:
        assert code == 0
        assert any("cannot be told" in each["what"] for each in levels["note"])


def test_equal_views_constant_ones_and_clipped_ones(inspected):
    code, levels, _ = inspected(lambda made: {**made, "right": made["left"]})
    assert code == 2
    assert any("same picture as left and right" in each["what"] for each in levels["error"])
    code, levels, _ = inspected(lambda made: {**made, "right": np.full_like(made["right"], 7)})
    assert code == 2
    assert any("show one colour" in each["what"] for each in levels["error"])
    code, levels, _ = inspected(lambda made: {**made, "left": 4 * made["left"] - 255, "right": 4 * made["right"] - 255})
    assert code == 0
    assert any("black or full" in each["what"] for each in levels["warning"])


def test_unknown_disparities_that_are_0_are_suspected(inspected):
    def with_holes(made):
        holes = np.arange(made["disparity"].shape[1]) % 5 == 0
        return {**made, "disparity": np.where(holes, 0, made["disparity"])}

    code, levels, _ = inspected(with_holes)
    assert code == 0
    assert "exactly 0" in levels["warning"][0]["what"]
    assert "invalid = [0]" in levels["warning"][0]["advice"]


def test_nothing_valid_is_an_error(inspected):
    code, levels, _ = inspected(lambda made: {**made, "valid": np.zeros_like(made["valid"])})
    assert code == 2
    assert "no pixel is valid in 3 of 3 samples" in levels["error"][0]["what"]


@pytest.mark.parametrize(("order", "pair_named"), [((0, 90, 45, 135), "45 and 90"), ((0, 45, 135, 90), "90 and 135")])
def test_angles_paired_wrongly_are_told_of_both_views(inspected, order, pair_named):
    code, levels, _ = inspected(manifest=POLARISED, order=order)
    assert code == 2
    told = [each["what"] for each in levels["error"] if "paired wrongly" in each["what"]]
    assert len(told) == 2
    assert all(pair_named in what for what in told)


def u_negated(made):
    return {**made, "polarization_right": made["polarization_right"] * np.array([1, -1])[:, None, None]}


def test_a_view_whose_angles_run_the_other_way(inspected):
    code, levels, _ = inspected(u_negated, POLARISED)
    assert code == 2
    assert "with u negated both views agree" in levels["error"][0]["what"]


@pytest.mark.parametrize(("degrees", "level"), [(5, None), (20, "warning"), (90, "error")])
def test_a_turned_camera_is_told_by_its_angle(inspected, degrees, level):
    def turned(made):
        q, u = made["polarization_right"]
        cosine, sine = np.cos(2 * np.radians(degrees)), np.sin(2 * np.radians(degrees))
        return {**made, "polarization_right": np.stack([cosine * q - sine * u, sine * q + cosine * u])}

    _, levels, found = inspected(turned, POLARISED)
    assert abs(found["figures"]["AoLP of both views, turn, degrees"]) == pytest.approx(degrees, abs=1)
    told = {key for key in ("error", "warning") if any("are turned by" in each["what"] for each in levels[key])}
    assert told == ({level} if level else set())


def test_the_table_and_a_sentence_for_people(engine, tmp_path):
    write_pair(tmp_path, "0", {**pair(0), "disparity": 2 * pair(0)["disparity"]})
    (tmp_path / "own.toml").write_text(PLAIN)
    outcome = engine("data", "inspect", "own.toml", "--out", "pictures")
    assert outcome.code == 2
    assert "disparity, median, px" in outcome.out
    assert "error the disparity looks twice as large as it should be: scale 1/2" in outcome.out
    assert (tmp_path / "pictures" / "own-stereo.png").is_file()


@pytest.mark.parametrize("named", [(), ("--as", "kitti2015")])
def test_the_folder_of_a_published_set_is_known_by_its_layout(engine, tmp_path, named):
    made = pair(0)
    for folder, side in (("image_2", "left"), ("image_3", "right")):
        (tmp_path / "set/training" / folder).mkdir(parents=True)
        write_image(tmp_path / "set/training" / folder / "000000_10.png", made[side])
    for folder in ("disp_occ_0", "disp_noc_0"):
        (tmp_path / "set/training" / folder).mkdir()
        truth = (2 * made["disparity"]).astype(np.float32)
        write_disparity(tmp_path / "set/training" / folder / "000000_10.png", truth, made["valid"], PRESETS["kitti"])
    outcome = engine("data", "inspect", "set", *named)
    assert outcome.code == 2
    assert "twice as large" in outcome.out, outcome.err


def test_a_path_that_is_no_data_set_says_what_to_name(engine, tmp_path):
    outcome = engine("data", "inspect", tmp_path)
    assert outcome.code == 2
    assert "--as" in outcome.err
    assert "manifest" in outcome.err
    assert engine("data", "inspect", "nothing.csv").code != 0


def test_the_motorcycle_of_scikit_image_passes(engine, tmp_path):
    pytest.importorskip("skimage", reason="the pair comes with scikit-image")
    (tmp_path / "m.toml").write_text(
        'name = "m"\n[model]\nplugin = "s2m2"\n[data.val]\nplugin = "motorcycle"\nscale = 0.5\n'
    )
    outcome = engine("data", "inspect", "m.toml", "--json")
    assert outcome.code == 0, outcome.err
    (found,) = json.loads(outcome.out)["sets"]
    assert "sign and scale of the disparity are right" in " ".join(each["what"] for each in found["findings"])
    assert found["figures"]["model reaches to"] == 370


def as_sample(seed):
    """The pair as a data set gives it."""
    made = {key: value.astype(np.float32) for key, value in pair(seed).items()}
    truth = {"disparity": made["disparity"][None], "valid": made["valid"][None] > 0}
    return {**made, **truth, "id": f"s{seed}", "scene": f"s{seed}"}


def told(change, count=2):
    """The findings of samples of another plugin's data set, by level."""
    inspection = StereoInspection(StereoInspectionOptions())
    for index in range(count):
        inspection.look(change(as_sample(index)), index, [])
    return [(finding.level, finding.what) for finding in inspection.findings()]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda view: view / 255, "these look like 0 to 1"),
        (lambda view: view / 127.5 - 1, "pictures hold numbers from -0.8"),
        (lambda view: view * 257, "expected 0 to 255"),
    ],
)
def test_pictures_of_another_range_are_told_beside_a_right_disparity(change, words):
    findings = told(lambda s: {**s, "left": change(s["left"]), "right": change(s["right"])})
    assert [words in what for level, what in findings if level == "error"] == [True]
    assert any("sign and scale of the disparity are right" in what for _, what in findings)


def test_a_mistake_in_pictures_from_0_to_1_is_told_too():
    findings = told(lambda s: {**s, "left": s["left"] / 255, "right": s["right"] / 255, "disparity": -s["disparity"]})
    assert sum(level == "error" for level, _ in findings) == 2
    assert "wrong sign" in findings[0][1]


def dolp_and_aolp(vector):
    q, u = vector
    return np.stack([np.hypot(q, u), np.arctan2(u, q) / 2 % np.pi])


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        (dolp_and_aolp, "error", "exceeds 1 in"),
        (dolp_and_aolp, "error", "and no number is negative"),
        (lambda vector: 3 * vector, "error", "exceeds 1 in"),
        (np.abs, "warning", "as if they were DoLP and AoLP"),
        (np.zeros_like, "error", "100% of the pixels have no polarisation"),
        (lambda vector: vector * (np.arange(160) > 120), "warning", "of the pixels have no polarisation"),
    ],
)
def test_numbers_that_are_no_polarisation(change, level, words):
    sides = ("polarization_left", "polarization_right")
    findings = told(lambda s: {**s, **{side: change(s[side]) for side in sides}})
    assert level in [level for level, what in findings if words in what]


def test_samples_without_pictures_or_truth_are_passed_over(tmp_path):
    inspection = StereoInspection(StereoInspectionOptions())
    inspection.look({"image": np.zeros((1, 4, 4)), "id": "a"}, 0, [])
    assert (inspection.findings(), inspection.figures(), inspection.draw(tmp_path / "a.png")) == ([], {}, False)
    bare = as_sample(0)
    inspection.look({key: bare[key] for key in ("left", "right", "id")}, 0, [])
    assert inspection.findings() == []
    assert inspection.draw(tmp_path / "a.png")
    assert inspection.draw(tmp_path / "b.png")
    assert Path(tmp_path / "a.png").read_bytes() == Path(tmp_path / "b.png").read_bytes()


def test_not_finite_numbers_do_not_stop_the_inspection():
    def spoil(s):
        s["left"][0, 3, 4], s["disparity"][0, 5, 6], s["polarization_left"][0, 1, 1] = np.nan, np.inf, np.nan
        return s

    assert any("sign and scale of the disparity are right" in what for _, what in told(spoil))

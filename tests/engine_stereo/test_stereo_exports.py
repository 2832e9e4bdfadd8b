"""Predictions written as benchmarks ask are read back; maps show where the error is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_stereo.data.encodings import PRESETS, read_disparity
from engine_stereo.data.images import read_raw
from engine_stereo.data.pfm import read_pfm
from engine_stereo.export_options import ErrorMapOptions, ETH3DOptions, KittiOptions, MiddleburyOptions
from engine_stereo.exports import ETH3D, ErrorMaps, Kitti, Middlebury
from engine_stereo.metrics import DisparityError
from engine_stereo.options import ErrorOptions

from engine.errors import InputError
from engine.prediction import Batch, Prediction

VALUE = torch.tensor([[7.5, 0.0, -3.0], [300.0, torch.nan, 20.25]])


def prediction(value: torch.Tensor = VALUE, count: int = 1) -> Prediction:
    return Prediction(value.expand(count, 1, *value.shape))


def batch(*names: str, **more: object) -> Batch:
    return {"id": list(names), **more}


@pytest.mark.parametrize(("year", "place"), [(2015, "disp_0/000046_10.png"), (2012, "000046_10.png")])
def test_kitti_takes_sixteen_bits_in_which_no_answer_is_ever_zero(tmp_path: Path, year: int, place: str) -> None:
    Kitti(KittiOptions.model_validate({"year": year}))(prediction(), batch("000046_10"), tmp_path, 1.0)
    raw = read_raw(tmp_path / place)
    assert raw.dtype == np.uint16
    assert raw.tolist() == [[1920, 1, 1], [65535, 0, 5184]], "round(256 d), at least 1; 0 only where there is no answer"
    disparity, known = read_disparity(tmp_path / place, PRESETS["kitti"])
    assert known.tolist() == [[True, True, True], [True, False, True]]
    assert (disparity[0, 0], disparity[1, 2]) == (7.5, 20.25)


def test_middlebury_takes_a_folder_for_each_scene_with_the_seconds(tmp_path: Path) -> None:
    options = MiddleburyOptions(method="Ours", resolution="H", split="training")
    Middlebury(options)(prediction(count=2), batch("Adirondack", "Piano"), tmp_path, 0.25)
    for scene in ("Adirondack", "Piano"):
        written = read_pfm(tmp_path / "trainingH" / scene / "disp0Ours.pfm")
        assert np.array_equal(written[0], VALUE[0]), "the first row is the top one"
        assert written[1, 1] == np.inf
        assert (tmp_path / "trainingH" / scene / "timeOurs.txt").read_text() == "0.250\n"


def test_eth3d_takes_two_files_for_each_pair(tmp_path: Path) -> None:
    ETH3D(ETH3DOptions())(prediction(), batch("delivery_area_1l"), tmp_path, 1.5)
    folder = tmp_path / "low_res_two_view"
    assert read_pfm(folder / "delivery_area_1l.pfm")[1, 2] == 20.25
    assert (folder / "delivery_area_1l.txt").read_text() == "runtime 1.500\n"


def test_a_submission_at_another_size_and_an_id_that_leads_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="full resolution"):
        Kitti(KittiOptions())(prediction(), batch("a", scale=torch.tensor([0.5])), tmp_path, 1.0)
    with pytest.raises(InputError, match="leads out"):
        ETH3D(ETH3DOptions())(prediction(), batch("../../a"), tmp_path, 1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("colours", ["px", "kitti"])
def test_error_maps_show_the_whole_and_the_base_beside_it(tmp_path: Path, colours: str) -> None:
    truth = torch.full((1, 1, 1, 4), 100.0)
    valid = torch.tensor([[[[True, True, True, False]]]])
    base = Prediction(truth + torch.tensor([0.0, 2.0, 40.0, 0.0]))
    whole = base.corrected(-torch.tensor([0.0, 2.0, 0.0, 0.0]) + 0 * truth, 0 * truth)
    options = ErrorMapOptions.model_validate({"colours": colours})
    ErrorMaps(options)(whole, batch("a/b", disparity=truth, valid=valid), tmp_path, 1.0)
    corrected, alone = (read_raw(tmp_path / "a" / f"b{part}.png")[0].tolist() for part in ("", "_base"))
    assert corrected[0] == corrected[1] == alone[0] != alone[1] != alone[2] == corrected[2]
    assert corrected[3] == ([0, 0, 0] if colours == "kitti" else [255, 255, 255])


def test_the_colours_of_kitti_change_from_blue_to_red_where_d1_begins(tmp_path: Path) -> None:
    truth = torch.tensor([[[[10.0, 10.0, 100.0, 100.0]]]])
    error = torch.tensor([2.9, 3.1, 4.9, 5.1])
    whole = Prediction(truth + error)
    seen = batch("a", disparity=truth, valid=torch.ones_like(truth, dtype=torch.bool))
    ErrorMaps(ErrorMapOptions(colours="kitti"))(whole, seen, tmp_path, 1.0)
    right, wrong = [224, 243, 248], [254, 224, 144]
    assert read_raw(tmp_path / "a.png")[0].tolist() == [right, wrong, right, wrong]


def test_error_maps_without_truth_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ground truth"):
        ErrorMaps(ErrorMapOptions())(prediction(), batch("a"), tmp_path, 1.0)


def test_thresholds_in_stored_pixels_hold_where_the_data_are_scaled() -> None:
    truth = torch.full((1, 1, 1, 4), 30.0)
    seen = {"disparity": truth, "valid": torch.ones_like(truth, dtype=torch.bool), "scale": torch.tensor([0.5])}
    error = torch.tensor([0.0, 0.0, 1.2, 1.6])
    figures = {
        full: DisparityError(ErrorOptions(quantities=["epe", "bad", "d1"], taus=[2, 3], full_resolution=full))(
            Prediction(truth + error), seen
        )
        for full in (False, True)
    }
    means = {
        full: {name: float(total / count) for name, (total, count) in each.items()} for full, each in figures.items()
    }
    assert means[False]["epe/all"] == pytest.approx(0.7)
    assert means[False]["bad2/all"] == 0
    assert means[True]["epe/all"] == pytest.approx(1.4)
    assert (means[True]["bad2/all"], means[True]["bad3/all"], means[True]["d1/all"]) == (50, 25, 25)

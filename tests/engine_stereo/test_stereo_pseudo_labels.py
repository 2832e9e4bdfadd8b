"""Labels that a network makes: what it is unsure of is unknown, and examples that it disagrees with are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stereo_pairs
import torch
from engine_stereo.data.manifest import manifest
from engine_stereo.data.mirrored import Mirrored
from engine_stereo.data.options import ManifestOptions
from engine_stereo.data.reading import scaled
from engine_stereo.export_options import PseudoLabelOptions
from engine_stereo.pseudo_labels import PseudoLabels, consistent
from stereo_world import pair, warped

from engine.errors import InputError, WorldError
from engine.prediction import Prediction


class Of:
    """Stands for the table of a data set that has one pair."""

    def __init__(self, sample: dict[str, Any]) -> None:
        self.it = sample

    def build(self) -> Of:
        return self

    def __len__(self) -> int:
        return 1

    def scenes(self) -> list[str]:
        return ["room"]

    def sample(self, index: int, rng: Any) -> dict[str, Any]:
        return dict(self.it)


class Options:
    def __init__(self, sample: dict[str, Any]) -> None:
        self.of = Of(sample)


def batch(sample: dict[str, Any]) -> dict[str, Any]:
    return {side: torch.from_numpy(sample[side])[None] for side in ("left", "right")} | {"id": ["room/one"]}


def answer(disparity: np.ndarray, confidence: np.ndarray | None = None) -> Prediction:
    told = None if confidence is None else torch.from_numpy(confidence.astype(np.float32))[None]
    return Prediction(value=torch.from_numpy(np.ascontiguousarray(disparity, np.float32))[None], confidence=told)


def read(folder: Path) -> dict[str, Any]:
    data = manifest(ManifestOptions(file=folder / "labels.toml"))
    assert len(data) == 1
    return data.sample(0, None)


def test_a_mirrored_pair_is_a_right_pair_without_truth() -> None:
    sample = pair()
    data = Mirrored(Options(sample))
    made = data.sample(0, None)
    assert made.keys() == sample.keys() - {
        name for name in sample if name.split("_")[0] in ("disparity", "valid", "occluded")
    }
    assert data.scenes() == ["room"]
    truth = {
        "disparity": sample["disparity_right"][..., ::-1],
        "valid": sample["valid_right"],
        "occluded": sample["occluded_right"][..., ::-1],
    }
    found, both = warped(made | truth)
    assert both.sum() > 200
    assert np.array_equal(found[:, both], made["left"][:, both])


def test_labels_come_back_where_they_are_to_be_believed(tmp_path: Path) -> None:
    sample = pair()
    confidence = np.ones((1, 16, 40))
    confidence[0, :4] = 0.3
    PseudoLabels(PseudoLabelOptions())(answer(sample["disparity"], confidence), batch(sample), tmp_path, 0.1)
    made = read(tmp_path)
    leads = np.arange(40) - sample["disparity"] >= 0
    assert np.array_equal(made["valid"], leads & (confidence >= 0.5))
    assert np.array_equal(made["disparity"][made["valid"]], sample["disparity"][made["valid"]])
    assert np.array_equal(made["left"], np.rint(sample["left"]))


def test_labels_of_scaled_data_are_those_of_the_small_pictures_beside_them(tmp_path: Path) -> None:
    sample = scaled(pair(), 0.5)
    seen = batch(sample) | {"scale": torch.tensor([0.5])}
    PseudoLabels(PseudoLabelOptions())(answer(sample["disparity"]), seen, tmp_path, 0.1)
    made = read(tmp_path)
    assert np.array_equal(made["left"], np.rint(sample["left"]))
    assert np.array_equal(made["disparity"][made["valid"]], sample["disparity"][made["valid"]])
    assert set(made["disparity"][made["valid"]]) == {2, 4}, "half of what they are in the large pictures"


def test_what_leads_out_of_the_right_view_at_either_side_is_unknown(tmp_path: Path) -> None:
    sample = pair()
    disparity = np.full((1, 16, 40), 2.5, np.float32)
    disparity[:, 8:] = -2.5
    PseudoLabels(PseudoLabelOptions())(answer(disparity), batch(sample), tmp_path, 0.1)
    valid = read(tmp_path)["valid"][0]
    assert valid[:8].any(0).tolist() == valid[:8].all(0).tolist() == [False] * 3 + [True] * 37
    assert valid[8:].any(0).tolist() == valid[8:].all(0).tolist() == [True] * 37 + [False] * 3


def test_where_the_views_disagree_nothing_is_known(tmp_path: Path) -> None:
    sample = pair()
    mirror = {**sample, "left": sample["right"][..., ::-1].copy(), "right": sample["left"][..., ::-1].copy()}
    right = sample["disparity_right"][..., ::-1]
    PseudoLabels(PseudoLabelOptions())(answer(right), batch(mirror), tmp_path / "mirrored", 0.1)
    options = PseudoLabelOptions(mirrored=tmp_path / "mirrored")
    wrong = sample["disparity"].copy()
    wrong[0, 13:, 20:30] += 3
    PseudoLabels(options)(answer(wrong), batch(sample), tmp_path / "labels", 0.1)
    valid = read(tmp_path / "labels")["valid"][0]
    seen = ~sample["occluded"][0] & (np.arange(40) - sample["disparity"][0] >= 0)
    assert not valid[13:, 20:30].any()
    assert not valid[sample["occluded"][0]].any()
    assert valid[:12][seen[:12]].mean() > 0.95
    (tmp_path / "mirrored/disparity/room/one.pfm").unlink()
    with pytest.raises(InputError, match=r"there is no .*one.pfm"):
        PseudoLabels(options)(answer(wrong), batch(sample), tmp_path / "labels", 0.1)


def test_consistency_is_of_disparities_within_the_tolerance() -> None:
    left = np.full((1, 8), 2.0, np.float32)
    right = np.array([[2, 2.9, 3.1, 2, 2, 2, 2, 2]], np.float32)
    known = np.ones((1, 8), bool)
    known[0, 4] = False
    assert consistent(left, right, known, 1.0)[0].tolist() == [False, False, True, True, False, True, False, True]


FIGURES = "id,scene,bad2/all\nl/0,a,12.5\nl/1,b,60.0\nl/2,c,60.1\nl/3,d,\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number in range(4):
        stereo_pairs.write_pair(tmp_path, str(number), stereo_pairs.pair(number, 16, 32, 2, 4))
    (tmp_path / "own.toml").write_text(stereo_pairs.PLAIN)
    (tmp_path / "figures.csv").write_text(FIGURES)
    return tmp_path


def curated(files: Path, **more: Any) -> list[str]:
    options = {"figures": files / "figures.csv", **more}
    data = manifest(ManifestOptions.model_validate({"file": files / "own.toml", "curate": options}))
    return [frame.id for frame in data.frames]


def test_examples_beyond_the_figure_and_those_without_one_are_left_out(files: Path) -> None:
    assert curated(files) == ["l/0", "l/1"]
    assert curated(files, most=61) == ["l/0", "l/1", "l/2"]
    assert curated(files, most=20) == ["l/0"]


def test_figures_that_say_nothing_of_these_examples_are_refused(files: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'bad2/al'.*Did you mean 'bad2/all'"):
        curated(files, column="bad2/al")
    with pytest.raises(InputError, match=r"all 4 examples have more than 1 in 'bad2/all'"):
        curated(files, most=1)
    (files / "figures.csv").write_text(FIGURES.replace("l/2", "l/7"))
    with pytest.raises(InputError, match="1 of 4 examples have no row: l/2"):
        curated(files)
    (files / "figures.csv").write_text(FIGURES.replace("12.5", "many"))
    with pytest.raises(InputError, match=r"figures.csv:2: 'many' is no number"):
        curated(files)
    (files / "figures.csv").unlink()
    with pytest.raises(WorldError, match="cannot be read"):
        curated(files)

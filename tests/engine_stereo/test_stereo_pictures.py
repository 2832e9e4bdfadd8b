import numpy as np
import pytest
from engine_stereo import pictures

from engine.errors import WorldError

pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")
KNOWN = np.array([[True, True, True, False]])


def test_disparity_grows_brighter_and_unknown_is_white():
    picture = pictures.disparity_picture(np.array([[0.0, 5.0, 10.0, 5.0]]), KNOWN, 0, 10)
    assert picture.dtype == np.uint8
    brightness = picture.astype(int).sum(-1)[0]
    assert brightness[0] < brightness[1] < brightness[2]
    assert (picture[0, 3] == 255).all()


def test_errors_are_drawn_in_classes_and_a_missing_estimate_is_the_worst():
    picture = pictures.error_picture(np.array([[0.0, 0.2, 100.0, 1.0]]), KNOWN)
    assert (picture[0, 0] == picture[0, 1]).all()
    assert (picture[0, 1] != picture[0, 2]).any()
    missing = pictures.error_picture(np.array([[np.nan, np.inf, 100.0, 1.0]]), KNOWN)
    assert (missing[0, 0] == missing[0, 2]).all()
    assert (missing[0, 1] == missing[0, 2]).all()


def test_a_gauge_grows_brighter_up_to_1_and_beyond_stays():
    brightness = pictures.gauge_picture(np.array([[0.0, 0.5, 1.0, 3.0]]), np.ones((1, 4), bool)).astype(int).sum(-1)[0]
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]


def test_angles_of_0_and_180_degrees_have_one_colour_and_no_polarisation_is_grey():
    angle = np.array([[1e-4, np.pi - 1e-4, np.pi / 2, 0.0]])
    picture = pictures.aolp_picture(np.cos(2 * angle) * [[1, 1, 1, 0]], np.sin(2 * angle) * [[1, 1, 1, 0]]).astype(int)
    assert np.abs(picture[0, 0] - picture[0, 1]).max() < 4
    assert np.abs(picture[0, 0] - picture[0, 2]).max() > 50
    assert (picture[0, 3] == 128).all()


def test_a_panel_tells_the_error_and_can_be_saved(tmp_path):
    truth = np.arange(48.0).reshape(6, 8)
    valid = truth >= 0
    figure = pictures.panel(np.zeros((3, 6, 8)), truth, truth + 4, valid, "a scene")
    titles = [axis.get_title() for axis in figure.axes]
    assert "error, mean 4.00 px, 100.0% above 3 px" in titles
    figure.savefig(tmp_path / "panel.png", dpi=30)
    pictures.panel(np.zeros((3, 6, 8)), truth, truth, ~valid).savefig(tmp_path / "empty.png", dpi=30)


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(WorldError, match="experiment-engine"):
        pictures.error_picture(np.zeros((1, 4)), KNOWN)

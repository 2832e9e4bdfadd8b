"""A folder in FSD's layout whose truth is known: it is read as it was made, and what is wrong with it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command
from engine_stereo.data.encodings import PRESETS, write_disparity
from engine_stereo.data.presets import Digits
from PIL import Image
from stereo_pairs import pair
from stereo_trees import data_set

Inspect = Callable[..., tuple[int, list[str]]]


def write(root: Path, number: int, made: dict[str, Any], digits: Digits = "rgb") -> None:
    """One pair of an environment as FSD has it: two JPEG files, and a PNG of three digits."""
    data = root / "room" / "dataset/data"
    for side in ("left", "right"):
        (data / side / "rgb").mkdir(parents=True, exist_ok=True)
        stored = np.rint(made[side]).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(stored).save(data / side / "rgb" / f"{number:04d}.jpg", quality=95)
    (data / "left/disparity").mkdir(parents=True, exist_ok=True)
    encoding = PRESETS["fsd"].model_copy(update={"digits": digits})
    everywhere = np.ones_like(made["valid"])
    write_disparity(data / f"left/disparity/{number:04d}.png", made["disparity"], everywhere, encoding)


@pytest.fixture
def inspected(engine: Command, tmp_path: Path) -> Inspect:
    """inspected(change, digits): exit code and errors of three pairs that are changed before they are written."""

    def inspect(change: Callable[[Any], Any] = lambda made: made, digits: Digits = "rgb") -> tuple[int, list[str]]:
        for number in range(3):
            write(tmp_path / "fsd", number, change(pair(number)), digits)
        outcome = engine("data", "inspect", "fsd", "--as", "fsd", "--json")
        (found,) = json.loads(outcome.out)["sets"]
        assert found["count"] == 3
        return outcome.code, [each["what"] for each in found["findings"] if each["level"] == "error"]

    return inspect


def test_what_was_written_is_read_with_every_order_of_the_digits(tmp_path: Path) -> None:
    made = pair(0)
    for digits in ("rgb", "grb", "bgr"):
        write(tmp_path / digits, 0, made, digits)
        (root,) = (tmp_path / digits,)
        data = data_set("fsd", root, digits=digits)
        assert len(data) == 1
        np.testing.assert_allclose(data.sample(0, None)["disparity"][0], made["disparity"], atol=5.01e-4)
    stored = np.asarray(Image.open(tmp_path / "rgb/room/dataset/data/left/disparity/0000.png")).astype(int)
    by_hand = (stored @ [255**2, 255, 1]) / 1000
    np.testing.assert_allclose(by_hand, made["disparity"], atol=5.01e-4)


def test_a_right_folder_has_no_errors(inspected: Inspect) -> None:
    assert inspected() == (0, [])


def test_exchanged_views_are_told(inspected: Inspect) -> None:
    code, errors = inspected(lambda made: {**made, "left": made["right"], "right": made["left"]})
    assert code == 2
    assert any("left and right pictures are exchanged" in each for each in errors)


@pytest.mark.parametrize(
    ("digits", "words"), [("grb", "green red blue"), ("bgr", "blue green red"), ("brg", "blue red green")]
)
def test_exchanged_colours_of_the_disparity_are_told_with_their_order(
    inspected: Inspect, digits: Digits, words: str
) -> None:
    code, errors = inspected(digits=digits)
    assert code == 2
    assert any(f"stand in the order {words}, and are read as rgb" in each for each in errors)
    assert not any("explains the pictures best" in each for each in errors), "it follows from the order"


def test_a_missing_partner_is_told_by_its_path(engine: Command, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / "fsd", number, pair(number))
    (tmp_path / "fsd/room/dataset/data/right/rgb/0001.jpg").unlink()
    outcome = engine("data", "inspect", "fsd", "--as", "fsd")
    assert outcome.code == 2
    assert "right/rgb/0001.jpg" in outcome.err

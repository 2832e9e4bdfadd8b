"""What any data set can have wrong, found without knowing what its fields mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command, WriteRecipe
from hypothesis import given
from hypothesis import strategies as st
from toy_world import PLUGIN

from engine.contracts import Finding
from engine.data.inspect_fields import FieldsInspection
from engine.data.inspection import Inspected, inspect, shared, spread
from engine.data.source import Source
from engine.errors import DamagedDataError, PluginError, WorldError


def sample(number: int, **changed: Any) -> dict[str, Any]:
    """A good sample of 32 x 64 px."""
    target = np.full((1, 32, 64), number + 1, np.float32)
    good = {"image": target + 1, "target": target, "valid": target > 0, "id": f"s{number}", "scene": f"scene {number}"}
    return good | changed


class Listed:
    """A data set of given samples; one that is an error is raised."""

    def __init__(self, *samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        assert rng is None, "an inspection sees what evaluation sees"
        if isinstance(self.samples[index], Exception):
            raise self.samples[index]
        return self.samples[index]


def inspected(*samples: Any, reach: Any = lambda size: None, folder: Path = Path()) -> Inspected:
    fields = FieldsInspection("target", reach)
    return inspect(Source(Listed(*samples), "data.val (listed)"), 8, {"fields": fields}, folder, "val")


def told(result: Inspected, level: str) -> list[str]:
    return [finding.what for finding in result.findings if finding.level == level]


@given(st.integers(1, 500), st.integers(1, 50))
def test_samples_are_spread_from_the_first_to_the_last(count: int, samples: int) -> None:
    indices = spread(count, samples)
    assert len(indices) == min(count, samples) == len(set(indices))
    assert indices[0] == 0
    assert samples == 1 or indices[-1] == count - 1
    gaps = np.diff(indices)
    assert not gaps.size or gaps.max() - gaps.min() <= 1


def test_good_samples_give_figures_and_no_finding() -> None:
    result = inspected(*[sample(number) for number in range(20)])
    assert result.findings == []
    assert result.looked == spread(20, 8)
    assert result.figures["samples"] == 20
    assert result.figures["size, px"] == "64 x 32"
    assert (result.figures["target, least"], result.figures["target, most"]) == (1, 20)


VALID = sample(0)["valid"]
SPOILT = np.where(np.arange(64) == 3, np.nan, sample(0)["target"])


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ({"id": "s0"}, "warning", "several samples have the same id: s0"),
        ({"image": SPOILT.astype(np.float32)}, "error", "'image' holds NaN or infinity in 1 of 2 samples: s1"),
        (
            {"target": SPOILT.astype(np.float32), "valid": np.isfinite(SPOILT)},
            "warning",
            "'target' holds NaN or infinity where it is not valid, in s1",
        ),
        ({"image": sample(0)["image"].astype(np.float64)}, "warning", "'image' has the type float32, float64"),
        ({"glass": VALID}, "error", "'glass' is in 1 of 2 samples, and not in s0"),
        (
            {name: sample(1)[name][:, :, :48] for name in ("image", "target", "valid")},
            "warning",
            "samples have 2 sizes, the least height 32 and the least width 48 px",
        ),
        ({"valid": ~VALID}, "warning", "no pixel is valid in 1 of 2 samples: s1"),
    ],
)
def test_what_is_wrong_with_one_sample_is_told_with_its_name(changed: dict[str, Any], level: str, words: str) -> None:
    result = inspected(sample(0), sample(1, **changed))
    assert any(words in what for what in told(result, level)), result.findings
    assert result.is_wrong == (level == "error")


def test_the_fields_of_a_sample_may_differ_in_size() -> None:
    small = {"target": np.zeros((5, 1, 1), np.float32), "valid": np.ones((1, 1, 1), bool)}
    result = inspected(sample(0, **small), sample(1, **small))
    assert result.findings == []
    assert set(result.figures["size, px"].split(", ")) == {"64 x 32", "1 x 1"}


@pytest.mark.parametrize(("height", "notes"), [(31, 0), (33, 1)])
def test_a_side_that_no_network_could_halve_five_times_is_none_of_a_picture(height: int, notes: int) -> None:
    fields = {"image": np.ones((1, height, 64), np.float32)}
    found = told(inspected(sample(0, **fields), sample(1, **fields)), "note")
    assert len(found) == notes


def test_nothing_valid_anywhere_is_an_error() -> None:
    assert inspected(sample(0, valid=~VALID), sample(1, valid=~VALID)).is_wrong


@pytest.mark.parametrize(("most", "level"), [(40.0, None), (10.0, "warning"), (2.0, "error")])
def test_targets_beyond_the_models_reach_are_told(most: float, level: str | None) -> None:
    asked: list[tuple[int, int]] = []

    def reach(size: tuple[int, int]) -> tuple[float, float]:
        asked.append(size)
        return 0.0, most

    result = inspected(*[sample(4 * number) for number in range(4)], reach=reach)
    assert set(asked) == {(32, 64)}
    assert result.figures["model reaches to"] == most
    levels = [finding.level for finding in result.findings if "beyond what the model" in finding.what]
    assert levels == ([level] if level else [])


def test_damaged_samples_are_counted_and_named() -> None:
    damaged = DamagedDataError("image", "s1", "a.png: cut short")
    result = inspected(sample(0), damaged)
    (warning,) = told(result, "warning")
    assert "1 of 2 samples cannot be read" in warning
    assert "sample s1 is damaged: a.png: cut short" in warning
    assert result.looked == [0]
    assert inspected(damaged, damaged).is_wrong


def test_scenes_of_both_parts_are_an_error_whether_told_unread_or_not() -> None:
    first, second = Listed(sample(0), sample(1)), Listed(sample(1), sample(2))
    parts = [(Source(data, "x"), inspect(Source(data, "x"), 8, {}, Path(), "x")) for data in (first, second)]
    (finding,) = shared(*parts)
    assert (finding.level, finding.what) == ("error", "data.train and data.val share 1 scene: scene 1")
    first.scenes, second.scenes = (lambda: ["a"]), (lambda: ["b"])  # type: ignore[attr-defined]  # a Listed may tell
    assert shared(*parts) == []


class Drawing:
    """An inspection that finds what it is given, and draws."""

    def __init__(self, found: Any = (), drawn: Any = True) -> None:
        self.found, self.drawn, self.seen = found, drawn, []

    def look(self, sample: Any, index: int, dataset: Any) -> None:
        self.seen.append((index, type(dataset)))

    def figures(self) -> dict[str, Any]:
        return {"seen": len(self.seen)}

    def findings(self) -> Any:
        return self.found

    def draw(self, path: Path) -> bool:
        if isinstance(self.drawn, Exception):
            raise self.drawn
        path.write_text("picture")
        return bool(self.drawn)


def with_inspection(inspection: Drawing, folder: Path) -> Inspected:
    return inspect(Source(Listed(sample(0), sample(1)), "x"), 8, {"mine": inspection}, folder / "new", "val")


def test_an_inspection_sees_every_sample_and_the_data_set_itself(tmp_path: Path) -> None:
    mine = Drawing([Finding("note", "later"), Finding("error", "first")])
    result = with_inspection(mine, tmp_path)
    assert mine.seen == [(0, Listed), (1, Listed)]
    assert [finding.what for finding in result.findings] == ["first", "later"]
    assert result.pictures == [tmp_path / "new" / "val-mine.png"]
    assert result.figures["seen"] == 2


def test_a_picture_that_cannot_be_drawn_costs_no_finding(tmp_path: Path) -> None:
    result = with_inspection(Drawing([Finding("error", "first")], WorldError("install matplotlib")), tmp_path)
    assert [finding.what for finding in result.findings] == ["first", "there is no picture: install matplotlib"]


@pytest.mark.parametrize("mistake", [["words"], [Finding("bad", "x")], [None]])  # type: ignore[arg-type]  # on purpose
def test_an_inspection_that_breaks_its_contract_is_named(mistake: Any, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="inspection 'mine' gave"):
        with_inspection(Drawing(mistake), tmp_path)


def test_an_inspection_that_fails_is_named_with_the_sample(tmp_path: Path) -> None:
    mine = Drawing()
    mine.look = lambda sample, index, dataset: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(PluginError, match="inspection 'mine' failed at sample 0 of x: ZeroDivisionError"):
        with_inspection(mine, tmp_path)


def test_a_recipe_is_inspected_in_both_its_parts(engine: Command, toy_recipe: WriteRecipe) -> None:
    outcome = engine("data", "inspect", toy_recipe(), "--json", "--samples", 3)
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert [each["name"] for each in found["sets"]] == ["train", "val"]
    assert all(len(each["looked"]) == 3 for each in found["sets"])
    assert found["shared"] == []


def test_a_recipe_whose_parts_are_the_same_ends_with_2(engine: Command, toy_recipe: WriteRecipe) -> None:
    recipe = toy_recipe(data={"val": {"split": "train"}})
    outcome = engine("data", "inspect", recipe)
    assert outcome.code == 2, outcome.out
    assert "data.train and data.val share" in outcome.out.replace("\n", " ")


BRIGHTNESS = """
from engine.contracts import Finding
from engine.hookspecs import hookimpl
from toy_plugin import Options


class Brightness:
    def __init__(self, options):
        self.seen = 0

    def look(self, sample, index, dataset):
        self.seen += 1

    def figures(self):
        return {"pictures": self.seen}

    def findings(self):
        return [Finding("note", f"{self.seen} pictures are bright")]


@hookimpl
def engine_inspections(register):
    register("brightness", Options, Brightness)
"""


def test_an_inspection_of_a_plugin_looks_at_every_part(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "brightness.py").write_text(BRIGHTNESS)
    recipe = toy_recipe(plugins=[str(PLUGIN), "brightness.py"])
    outcome = engine("data", "inspect", recipe, "--json", "--samples", 3)
    assert outcome.code == 0, outcome.err
    for part in json.loads(outcome.out)["sets"]:
        assert part["figures"]["pictures"] == 3
        assert "3 pictures are bright" in [finding["what"] for finding in part["findings"]]

"""Semi-global matching on real pairs gives the figures that are known of it; files from ENGINE_SHARED_DATA."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import Command

REAL = Path(os.environ["ENGINE_SHARED_DATA"])
RECIPE = """
name = "sgbm"
model = { plugin = "sgbm" }
data.val = { plugin = "motorcycle" }
evaluate.metrics = [{ name = "epe", regions = ["all", "noc"], quantities = ["epe", "a50", "a90", "a95"] }]
"""
THINGS = """
left = "left/*.png"
right = "right/*.png"
disparity = "disparity_left/*.pfm"
encoding = "sceneflow"
"mask.occluded" = "occlusion_left/*.png"
"""
ALOE = """
left = "aloeL.jpg"
right = "aloeR.jpg"
disparity = "aloeGT.png"
encoding = "middlebury2006"
"""

# Set, disparities looked for, region, and what is known, px: the mean, the median, and quantiles of .9 and .95.
# Of Aloe the median (.56) is left out: errors there are sixteenths of a pixel, .5625 or, as here, .625.
KNOWN = [
    ("motorcycle", 80, "noc", {"epe": 2.37, "a50": 0.20, "a90": 4.73, "a95": 19.6}),
    ("kitti", 96, "all", {"epe": 2.47, "a50": 0.61, "a90": 2.66, "a95": 14.0}),
    ("things", 160, "noc", {"epe": 13.2, "a50": 1.64, "a90": 39.8}),
    ("aloe", 240, "all", {"epe": 13.9}),
]


def _data(name: str, folder: Path) -> str:
    """The set as `--data` names it."""
    if name == "kitti":
        return f"kitti2015:root={REAL / 'kitti2015'}"
    if name == "motorcycle":
        (folder / "trainingQ").symlink_to(REAL / "middlebury2014_Q")
        return f"middeval3:root={folder},resolution=Q"
    table, root = {"things": (THINGS, "sceneflow_sample"), "aloe": (ALOE, "middlebury2006_aloe")}[name]
    (folder / "set.toml").write_text(table)
    return f"manifest:file={folder / 'set.toml'},root={REAL / root}"


@pytest.mark.parametrize(("name", "disparities", "region", "known"), KNOWN, ids=[each[0] for each in KNOWN])
def test_its_error_is_within_five_percent_of_what_is_known(
    engine: Command, tmp_path: Path, name: str, disparities: int, region: str, known: dict[str, float]
) -> None:
    recipe = tmp_path / "sgbm.toml"
    recipe.write_text(RECIPE)
    data = ("--data", _data(name, tmp_path), "--set", f"model.num_disparities={disparities}")
    done = engine("eval", recipe, *data, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)["mean"]
    assert {key: found[f"{key}/{region}"] for key in known} == pytest.approx(known, rel=0.05)

"""What other settings of a trained system cost, in error and in time."""

from __future__ import annotations

import time
from pathlib import Path

import deploy_world
import pytest
import torch
from conftest import Command
from deploy_world import rows
from engine_deploy.measuring import seconds
from engine_deploy.scaled import Scaled
from torch import nn

import engine
from engine.prediction import Batch, Prediction

run, deploy = deploy_world.run, deploy_world.deploy


class Tenth(nn.Module):
    """Finds everything at a tenth of the width that it sees."""

    sizes: list[tuple[int, ...]]

    def __init__(self) -> None:
        super().__init__()
        self.sizes = []

    def forward(self, batch: Batch) -> Prediction:
        self.sizes.append(tuple(batch["left"].shape))
        value = torch.full_like(batch["left"][:, :1], batch["left"].shape[-1] / 10)
        return Prediction(value, [value], confidence=torch.full_like(value, 0.5), features={"more": value})


@pytest.mark.parametrize("scale", [0.5, 0.75, 0.33])
def test_a_disparity_seen_small_is_told_at_full_resolution(scale: float) -> None:
    base = Tenth()
    picture = torch.rand(2, 3, 40, 60)
    answer = Scaled(base, scale)({"left": picture, "right": picture})
    assert base.sizes == [(2, 3, round(40 * scale), round(60 * scale))]
    torch.testing.assert_close(answer.value, torch.full((2, 1, 40, 60), 6.0))
    assert answer.confidence is not None
    assert answer.confidence.shape == answer.value.shape
    assert answer.visibility is None


def test_each_value_is_measured_as_the_engine_measures_it(deploy: Command, run: Path) -> None:
    found = rows(deploy("tradeoff", run, "--vary", "data.val.offset=0.2,0.9", "--repeats", "1", "--json"))
    assert [each["setting"] for each in found] == ["0.2", "0.9"]
    for row in found:
        recipe = engine.load_recipe(run, [f"data.val.offset={row['setting']}"])
        assert row["mean"]["error"] == engine.evaluate(recipe, weights=run).mean["error"]
        assert row["seconds"] > 0
    assert found[0]["mean"] != found[1]["mean"]


def test_the_table_has_a_line_for_each_setting_and_says_where_it_was_measured(deploy: Command, run: Path) -> None:
    told = deploy("tradeoff", run, "--vary", "data.val.offset=0.2,0.9", "--repeats", "1").out.splitlines()
    assert told[0].split() == ["data.val.offset", "scale", "ms", "CPU", "ms", "error"]
    assert [line.split()[:2] for line in told[1:3]] == [["0.2", "1"], ["0.9", "1"]]
    assert told[3].endswith(f"{torch.get_num_threads()} threads, torch {torch.__version__}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--vary", "model.hidden"], "--vary model.hidden names no key with values"),
        (["--vary", "model.hiden=3,4"], "Did you mean 'hidden'?"),
        (["--scale", "2"], "--scale 2 is no list of scales"),
        (["--scale", "half"], "--scale half is no list of scales"),
        (["--scale", "0.5"], "reads field 'left', which"),
    ],
)
def test_mistakes_are_told_in_words(deploy: Command, run: Path, arguments: list[str], says: str) -> None:
    done = deploy("tradeoff", run, *arguments)
    assert done.code == 2
    assert says in done.err
    assert "Traceback" not in done.err


def test_the_first_time_does_not_count_and_waiting_is_no_time_of_the_cpu() -> None:
    class Counting(nn.Module):
        injection = None

        def __init__(self) -> None:
            super().__init__()
            self.asked = 0

        def forward(self, batch: Batch, inject: bool) -> None:
            self.asked += 1
            time.sleep({1: 0.0, 2: 0.2, 3: 0.0, 4: 0.2}[self.asked])

    took, cpu = seconds(Counting(), {}, 3)
    assert took >= 0.2
    assert cpu < 0.1

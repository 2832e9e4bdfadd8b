"""`engine plan --measure`: what a recipe would cost, from a few real steps."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command, WriteRecipe
from toy_world import STAGE_A, STAGE_B, STAGE_C

from engine.runs.cost import SAMPLES, STEPS, peak_memory
from engine.stages.cache_choice import Costs

QUIET = {"data": {"train": {"noise": False}}}
CACHED = [STAGE_A, {**STAGE_B, "cache": "on"}, STAGE_C]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def measured(engine: Command, *arguments: object) -> dict[str, Any]:
    done = engine("plan", *arguments, "--measure", "--json")
    assert done.code == 0, done.err
    cost: dict[str, Any] = json.loads(done.out)["cost"]
    return cost


def test_every_stage_is_measured_and_nothing_is_left(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, cache: Path
) -> None:
    cost = measured(engine, toy_recipe(stage=CACHED, **QUIET))
    assert [stage["name"] for stage in cost["stages"]] == ["A", "B", "C"]
    for stage in cost["stages"]:
        assert stage["steps"] == 12, "the recipe's, not those that were timed"
        parts = (stage["evaluation"], stage["frozen_outputs"], stage["checkpoint"])
        assert stage["seconds"] == pytest.approx(12 * stage["seconds_per_step"] + sum(parts))
        assert min(stage["seconds_per_step"], stage["evaluation"], stage["checkpoint_bytes"]) > 0
        assert stage["peak_bytes"] is None or stage["peak_bytes"] > 0, "some systems hide it"
    assert cost["seconds"] == pytest.approx(sum(stage["seconds"] for stage in cost["stages"]))
    assert cost["how"] == {"steps": STEPS, "warm_up": STEPS, "samples": SAMPLES, "device": "cpu"}
    assert not (tmp_path / "runs").exists()
    assert [folder.name for folder in cache.iterdir()] == ["outlines"], "no frozen outputs are kept"


def test_a_stage_that_caches_tells_how_large_its_store_would_be(
    engine: Command, toy_recipe: WriteRecipe, cache: Path
) -> None:
    stages = measured(engine, toy_recipe(stage=CACHED, **QUIET))["stages"]
    kept = 4 * (8 * 8 * 4) + 8 * 8  # the base's value and three fields in float32, and a mask
    assert stages[1]["frozen_bytes"] == 24 * kept, "for each of 24 samples"
    assert stages[1]["frozen_outputs"] > 0
    assert [stages[number]["frozen_bytes"] for number in (0, 2)] == [0, 0]


def test_auto_decides_for_all_steps_and_samples_of_the_recipe(
    engine: Command, toy_recipe: WriteRecipe, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.stages.cache_choice.measured", lambda *_: Costs(0.1, 0.02, 0.01, 1000))
    for steps, kept in ((2, False), (200, True)):  # the trial's own 10 steps of 8 samples would keep them
        stages = measured(engine, toy_recipe(stage=[STAGE_A, {**STAGE_B, "cache": "auto", "steps": steps}], **QUIET))
        assert (stages["stages"][1]["frozen_bytes"] > 0) == kept


def test_a_store_that_the_run_could_not_keep_is_refused(
    engine: Command, toy_recipe: WriteRecipe, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_CACHE_GB", "2e-5")  # room for 8 samples, and not for 24
    done = engine("plan", toy_recipe(stage=CACHED, **QUIET), "--measure")
    assert done.code == 2
    assert "ENGINE_CACHE_GB" in done.err


def test_the_table_says_how_it_was_measured(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("plan", toy_recipe(stage=[STAGE_A]), "--measure")
    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    assert "estimated cost" in told
    assert f"an estimate from {STEPS} steps after {STEPS} that are not counted, on cpu" in told
    assert "estimated" not in engine("plan", toy_recipe(stage=[STAGE_A])).out


def test_evaluations_in_mid_stage_are_counted(
    engine: Command, toy_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.runs.cost._whole_pass", lambda *_: 1.0)
    kept = {"retention": {"old": {"plugin": "toy", "split": "old", "count": 4}}}
    path = toy_recipe(train={"evaluate_every": 4}, data=kept)
    evaluations = [stage["evaluation"] for stage in measured(engine, path)["stages"]]
    assert evaluations == [2 + 3 + 2, 2 * (1 + 3) + 2, 1 + 3 + 2], "A before and after; B by both alignments"


def test_weights_that_are_not_there_yet_are_not_needed(engine: Command, toy_recipe: WriteRecipe) -> None:
    path = toy_recipe(model={"weights": "later.safetensors"}, stage=[{**STAGE_A, "init": "trained.pt"}])
    assert measured(engine, path)["seconds"] > 0


def test_what_would_stop_a_run_stops_the_measurement(engine: Command, toy_recipe: WriteRecipe) -> None:
    path = toy_recipe(stage=CACHED)
    done = engine("plan", path, "--measure")
    assert done.code == 2
    assert "data.train (toy) draws random numbers" in done.err
    assert path.name in done.err


def in_use(size: int = 100 << 20) -> None:
    """Pages that no allocator had before, and that go back at once."""
    with mmap.mmap(-1, size) as pages:
        pages[:: mmap.PAGESIZE] = b"1" * (size // mmap.PAGESIZE)


def test_the_peak_of_memory_is_that_of_its_own_block() -> None:
    with peak_memory(torch.device("cpu")) as large:
        in_use()
    with peak_memory(torch.device("cpu")) as small:
        pass
    told = [*large, *small]  # neither by a system that tells the peak of the whole process alone
    assert len(told) < 2 or 80_000_000 < large[0] - small[0] < 200_000_000


def test_a_peak_that_the_system_does_not_clear_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_use()
    monkeypatch.setattr("engine.runs.cost.CLEAR_PEAK", tmp_path / "ignored")
    with peak_memory(torch.device("cpu")) as peak:
        pass
    assert peak == []


def test_a_peak_that_the_system_clears_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = tmp_path / "status"
    status.write_text("VmHWM:\t 1000 kB\nVmRSS:\t 1000 kB\n")
    monkeypatch.setattr("engine.runs.cost.CLEAR_PEAK", tmp_path / "cleared")
    monkeypatch.setattr("engine.runs.cost.STATUS", status)
    with peak_memory(torch.device("cpu")) as peak:
        status.write_text("VmHWM:\t 3000 kB\nVmRSS:\t 1000 kB\n")
    assert peak == [3000 * 1024]

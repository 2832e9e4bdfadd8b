"""The loop through the command line: what a stage hands on, compared with what it should have learnt."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command, WriteRecipe, events_of, weights_of
from torch import Tensor
from toy_plugin import DataOptions, ToyData
from toy_world import STAGE_A, STAGE_B, system

from engine.data.loader import Order, training_batches
from engine.recipe.schema import Stage, Train
from engine.system import System
from engine.training import loop, parallel
from engine.training.loop import draw_warp


def trained(engine: Command, recipe: Path, *arguments: str, folder: str = "runs") -> tuple[dict[str, Tensor], Path]:
    """The weights that stage A hands on, and the run's directory."""
    done = engine("run", recipe, "--runs", folder, *arguments)
    assert done.code == 0, done.out + done.err
    (run,) = (recipe.parent / folder / "toy").iterdir()
    return weights_of(run, "A"), run


def by_hand(
    steps: int, batch_size: int = 4, lr: float = 0.02, clip: float | None = 1.0, spoil: int | None = None
) -> list[System]:
    """Stage A in a few lines of plain PyTorch: the system after every step that is made, with finite numbers."""
    made = system(0)
    optimizer = torch.optim.AdamW(made.base.parameters(), lr=lr, weight_decay=1e-5)
    order = Order(24, batch_size, 0, "A")
    after = []
    for batch in training_batches(ToyData(DataOptions(spoil=spoil)), order, 0, steps, workers=0, pin=False):
        if not batch["image"].isfinite().all():
            continue
        (made.base(batch).value - batch["target"]).square().mean().backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(made.base.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        after.append(copy.deepcopy(made))
    return after


CONSTANT = {"schedule": {"name": "constant", "warmup": 0}}


def close(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float = 1e-6) -> bool:
    return all(torch.allclose(one[name], other[name], atol=tolerance) for name in one)


def test_a_stage_equals_a_loop_written_by_hand(engine: Command, toy_recipe: WriteRecipe) -> None:
    weights, _ = trained(engine, toy_recipe(stage=[STAGE_A], train=CONSTANT))
    assert close(weights, by_hand(12)[-1].state_dict())


def test_clipping_bounds_the_gradient_and_zero_turns_it_off(engine: Command, toy_recipe: WriteRecipe) -> None:
    tight, _ = trained(engine, toy_recipe(stage=[STAGE_A], train={**CONSTANT, "clip_norm": 0.01}), folder="tight")
    off, _ = trained(engine, toy_recipe(stage=[STAGE_A], train={**CONSTANT, "clip_norm": 0}), folder="off")
    assert close(tight, by_hand(12, clip=0.01)[-1].state_dict())
    assert close(off, by_hand(12, clip=None)[-1].state_dict())
    assert not close(tight, off)


def test_two_accumulated_batches_of_two_equal_one_of_four(engine: Command, toy_recipe: WriteRecipe) -> None:
    whole, _ = trained(engine, toy_recipe(stage=[STAGE_A], train={"batch_size": 4}), folder="whole")
    halves = toy_recipe(stage=[STAGE_A], train={"batch_size": 2, "accumulate": 2})
    parts, run = trained(engine, halves, folder="halves")
    assert close(whole, parts, 1e-5)
    assert [event["step"] for event in events_of(run, "step")] == [4, 8, 12], "steps count updates, not micro-batches"


def test_the_average_equals_one_made_by_hand(engine: Command, toy_recipe: WriteRecipe) -> None:
    decay = 0.7
    weights, _ = trained(engine, toy_recipe(stage=[STAGE_A], train={**CONSTANT, "ema": decay}))
    states = [made.state_dict() for made in by_hand(12)]
    average = dict(states[0])  # the first step's weights begin the average
    for state in states[1:]:
        average = {name: decay * average[name] + (1 - decay) * state[name] for name in average}
    assert close(weights, average)
    assert not close(weights, states[-1])


def wait_at_once(monkeypatch: pytest.MonkeyPatch, waits: bool) -> None:
    """Let the loop wait for each number as on a CPU, or leave numbers where they are as on a GPU."""
    for module in (loop, parallel):
        monkeypatch.setattr(module, "at_once", lambda device: waits)


@pytest.mark.parametrize("waits", [True, False])
def test_a_step_that_is_left_out_moves_neither_weights_nor_average(
    engine: Command, toy_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    wait_at_once(monkeypatch, waits)
    train = {**CONSTANT, "ema": 0.5, "nonfinite": {"policy": "skip"}}
    weights, run = trained(engine, toy_recipe(stage=[STAGE_A], data={"train": {"spoil": 1}}, train=train))
    states = [made.state_dict() for made in by_hand(12, spoil=1)]
    assert len(states) == 12 - events_of(run, "step")[-1]["skipped"] == 10
    average = dict(states[0])
    for state in states[1:]:
        average = {name: 0.5 * average[name] + 0.5 * state[name] for name in average}
    assert close(weights, average)
    assert not close(weights, states[-1])


def test_the_average_carries_the_statistics_of_norms_along(engine: Command, toy_recipe: WriteRecipe) -> None:
    weights, _ = trained(engine, toy_recipe(stage=[STAGE_A], model={"norm": True}, train={"ema": 0.9}))
    assert weights["base.norm.num_batches_tracked"] == 12
    assert weights["base.norm.running_mean"].abs().sum() > 0


def test_the_average_leaves_frozen_tensors_bit_identical(engine: Command, toy_recipe: WriteRecipe) -> None:
    # Averaging a constant is not exact for every bit pattern: it turns -0.0 into 0.0.
    start = system(0)
    with torch.no_grad():
        start.get_parameter("base.encoder.0.weight").fill_(-0.0)
    path = toy_recipe(
        model={"weights": "start.pth"},
        stage=[{**STAGE_A, "trainable": ["base.head"], "frozen": ["base.encoder.**"]}],
        train={"ema": 0.9},
    )
    torch.save(start.base.state_dict(), path.with_name("start.pth"))
    weights, _ = trained(engine, path)
    assert torch.signbit(weights["base.encoder.0.weight"]).all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_trains_close_to_full_precision(
    engine: Command, toy_recipe: WriteRecipe, precision: str
) -> None:
    full, _ = trained(engine, toy_recipe(stage=[STAGE_A]), folder="full")
    low, run = trained(engine, toy_recipe(stage=[STAGE_A], train={"precision": precision}), folder="low")
    assert close(full, low, 0.1)
    assert not close(full, low, 0)
    assert all(value.dtype == torch.float32 for value in low.values())
    assert all(event["loss"] < 2 for event in events_of(run, "step"))


def test_a_rate_by_glob_moves_only_what_it_names(engine: Command, toy_recipe: WriteRecipe) -> None:
    groups = {"optimizer": {"lr": 1e-12, "weight_decay": 0, "groups": [{"match": "base.head", "lr": 0.1}]}}
    weights, _ = trained(engine, toy_recipe(stage=[STAGE_A], train=groups))
    start = system(0).state_dict()
    assert close({"w": weights["base.encoder.0.weight"]}, {"w": start["base.encoder.0.weight"]}, 1e-9)
    assert not close({"w": weights["base.head.weight"]}, {"w": start["base.head.weight"]}, 0.01)


def test_events_report_means_rates_and_shares(engine: Command, toy_recipe: WriteRecipe) -> None:
    losses = [{"name": "square", "weight": 0.5}]
    path = toy_recipe(stage=[STAGE_A], train={"losses": losses, "log_every": 5, "schedule": {"name": "constant"}})
    _, run = trained(engine, path)
    steps = events_of(run, "step")
    assert [event["step"] for event in steps] == [5, 10, 12]
    for event in steps:
        assert event["loss"] == pytest.approx(event["terms"]["square"])
        assert event["gradient_norm"] > 0
        assert event["learning_rate"] == pytest.approx(0.02)
        assert 0 <= event["data_share"] <= 1
        assert event["skipped"] == 0


def test_what_is_told_of_several_steps_is_their_mean(engine: Command, toy_recipe: WriteRecipe) -> None:
    told = {}
    for every in (1, 5):
        path = toy_recipe(stage=[STAGE_A], train={"log_every": every})
        _, run = trained(engine, path, "--fresh", folder=f"every-{every}")
        told[every] = events_of(run, "step")
    for number, window in enumerate([told[1][:5], told[1][5:10], told[1][10:]]):
        whole = told[5][number]
        for figure in ("loss", "gradient_norm"):
            assert whole[figure] == pytest.approx(sum(each[figure] for each in window) / len(window), rel=1e-6)
        assert whole["learning_rate"] == window[-1]["learning_rate"]
        assert whole["seconds_per_step"] > 0


@pytest.mark.parametrize("policy", ["skip", "off"])
def test_a_device_that_is_not_waited_for_learns_and_tells_the_same(
    engine: Command, toy_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    train = {"nonfinite": {"policy": policy}, "accumulate": 2, "batch_size": 2, "ema": 0.9, "clip_norm": 0.05}
    spoil = {"train": {"spoil": 1}} if policy == "skip" else {}
    path = toy_recipe(stage=[STAGE_A], model={"norm": True}, train=train, data=spoil)
    here, one = trained(engine, path, folder="here")
    wait_at_once(monkeypatch, False)
    there, other = trained(engine, path, folder="there")

    assert close(here, there, 0)
    figures = ("step", "loss", "gradient_norm", "skipped")
    told = [
        [[-1 if event[name] is None else event[name] for name in figures] for event in events_of(run, "step")]
        for run in (one, other)
    ]
    assert all(mine == pytest.approx(theirs, rel=1e-5) for mine, theirs in zip(*told, strict=True))
    assert any(event["skipped"] for event in events_of(one, "step")) == (policy == "skip")


def test_nobody_looks_at_the_numbers_where_the_recipe_says_so(engine: Command, toy_recipe: WriteRecipe) -> None:
    train = {"nonfinite": {"policy": "off"}, "clip_norm": 0}
    weights, run = trained(engine, toy_recipe(stage=[STAGE_A], data={"train": {"spoil": 1}}, train=train))
    assert weights["base.head.weight"].isnan().all()
    assert {event["gradient_norm"] for event in events_of(run, "step")} == {None}


def test_clipping_measures_the_gradient_where_nobody_looks(engine: Command, toy_recipe: WriteRecipe) -> None:
    watched, one = trained(engine, toy_recipe(stage=[STAGE_A], train=CONSTANT), folder="watched")
    unwatched = {**CONSTANT, "nonfinite": {"policy": "off"}}
    alone, other = trained(engine, toy_recipe(stage=[STAGE_A], train=unwatched), folder="alone")
    assert close(watched, alone, 0)
    norms = [[event["gradient_norm"] for event in events_of(run, "step")] for run in (one, other)]
    assert norms[0] == norms[1]


def test_a_run_that_seldom_reports_is_watched_all_the_same(
    engine: Command, toy_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(loop, "REVIEW_EVERY", 5)
    monkeypatch.setattr(loop, "factor", lambda step, *_: made.append(step) or 1.0)
    stage = {**STAGE_A, "steps": 60}
    done = engine("run", toy_recipe(stage=[stage], data={"train": {"spoil": 1}}, train={"log_every": 1000}))
    assert done.code == 3
    (bad,) = re.findall(r"not finite at step (\d+)", done.err)
    assert made[-1] == int(bad) // 5 * 5 + 4


def test_the_best_checkpoint_is_the_one_with_the_least_error(engine: Command, toy_recipe: WriteRecipe) -> None:
    train = {"evaluate_every": 3, "checkpoint_every": 3, "keep": 1, "optimizer": {"lr": 0.5}}
    _, run = trained(engine, toy_recipe(stage=[STAGE_A], train=train))
    during = {
        int(event["moment"].split()[1]): event["evaluation"]["mean"]["error"]
        for event in events_of(run, "evaluated")
        if event["moment"].startswith("step")
    }
    assert sorted(during) == [3, 6, 9, 12]
    lowest = min(during, key=lambda step: during[step])
    folder = run / "stage-A" / "checkpoints"
    assert (folder / "best").read_text().strip() == f"step-{lowest:07d}"
    assert {path.name for path in folder.glob("step-*")} == {f"step-{lowest:07d}", "step-0000012"}


def warp_of(warp: Any, steps: int = 400) -> Stage:
    table = {**STAGE_B, "warp": warp, "steps": steps, "train": Train()}
    return Stage.model_validate(table)


def draws(stage: Stage) -> list[str]:
    return [draw_warp(0, stage, step) for step in range(stage.steps)]


def test_a_warp_mix_is_drawn_in_its_share() -> None:
    share = draws(warp_of({"gt": 0.25, "pred": 0.75})).count("gt") / 400
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5


def test_a_warp_schedule_moves_from_one_source_to_the_other() -> None:
    made = draws(warp_of({"from": "gt", "to": "pred", "over": 0.5}))
    assert made[0] == "gt"
    assert abs(made[50:150].count("gt") - 50) < 20
    assert set(made[200:]) == {"pred"}


def test_plain_sources_and_a_stage_without_injection_draw_nothing() -> None:
    assert set(draws(warp_of("gt"))) == {"gt"}
    assert set(draws(warp_of("pred"))) == {"pred"}
    off = Stage.model_validate({**STAGE_A, "train": Train()})
    assert draw_warp(0, off, 0) == "pred"


def test_a_draw_depends_on_the_step_alone() -> None:
    stage = warp_of({"gt": 0.5, "pred": 0.5}, steps=50)
    assert [draw_warp(0, stage, step) for step in reversed(range(50))] == draws(stage)[::-1]
    assert [draw_warp(1, stage, step) for step in range(50)] != draws(stage)


SLOW = """
import time
from pydantic import BaseModel
from engine.hookspecs import hookimpl

class Options(BaseModel):
    pass

def slow(prediction, batch):
    time.sleep(0.3)
    return {}

@hookimpl
def engine_metrics(register):
    register("slow", Options, lambda options: slow, produces=lambda options: [])
"""


def test_the_time_of_a_step_is_that_of_training_and_not_of_measuring(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    path = toy_recipe(
        stage=[STAGE_A | {"steps": 6}],
        train={"log_every": 2, "evaluate_every": 1},
        evaluate={"metrics": [{"name": "error"}, {"name": "slow"}], "batch_size": 10},
    )
    path.write_text(path.read_text().replace("toy_plugin.py", 'toy_plugin.py", "slow.py'))
    _, run = trained(engine, path)
    assert max(step["seconds_per_step"] for step in events_of(run, "step")) < 0.25

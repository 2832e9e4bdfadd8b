from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from toy_world import STAGE_A, STAGE_B, threshold


def test_three_stages_train_and_the_final_table_tells_of_each(
    process: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    gated = [STAGE_A, {**STAGE_B, "gate": [threshold(max=0.9), threshold(on_fail="warn", max=0.0)]}]
    done = process("run", toy_recipe(stage=gated))
    assert done.code == 0, done.err
    assert "\x1b" not in done.out, "plain output without a terminal"
    table = done.out[done.out.index("held-out data") :]
    for row in ("before A", "after A", "after B"):
        assert re.search(rf"{row} .*\d\.\d{{3}}", table), row
    assert re.search(r"threshold.*PASS", table)
    assert re.search(r"threshold.*FAIL, overridden", table)
    assert "done after" in table
    run = only_run(tmp_path)
    assert json.loads((run / "status.json").read_text())["status"] == "done"
    assert events_of(run, "run_finished")[0]["status"] == "done"


def test_stages_hand_their_weights_on(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    assert engine("run", toy_recipe()).code == 0
    a, b, c = (weights_of(only_run(tmp_path), stage) for stage in "ABC")
    base = [name for name in a if name.startswith("base.")]
    assert all((a[name] == b[name]).all() for name in base)
    assert not (a["injection.head.weight"] == b["injection.head.weight"]).all()
    assert not (b["base.head.weight"] == c["base.head.weight"]).all()


def test_the_frozen_digest_at_the_end_is_the_one_at_the_start(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = toy_recipe(stage=[STAGE_A, STAGE_B], model={"norm": True, "dropout": 0.5})
    assert engine("run", path).code == 0
    run = only_run(tmp_path)
    started = {event["name"]: event["digest"] for event in events_of(run, "stage_frozen")}
    finished = {event["name"]: event["frozen_digest"] for event in events_of(run, "stage_finished")}
    assert started == finished
    assert json.loads((run / "stage-B" / "record.json").read_text())["frozen_digest"] == started["B"]


def test_the_same_recipe_gives_the_same_bits(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(model={"dropout": 0.3})
    finals = []
    for folder in ("one", "two"):
        assert engine("run", path, "--runs", folder).code == 0
        (run,) = (tmp_path / folder / "toy").iterdir()
        finals.append(weights_of(run, "C"))
    assert all((finals[0][name] == finals[1][name]).all() for name in finals[0])


def test_another_seed_gives_other_weights(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(stage=[STAGE_A])
    assert engine("run", path, "--runs", "one").code == 0
    assert engine("run", path, "--runs", "two", "--set", "seed=1").code == 0
    (one,), (two,) = ((tmp_path / folder / "toy").iterdir() for folder in ("one", "two"))
    assert not (weights_of(one, "A")["base.head.weight"] == weights_of(two, "A")["base.head.weight"]).all()


def test_a_stage_may_start_from_a_weights_file(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    assert engine("run", toy_recipe(stage=[STAGE_A])).code == 0
    file = only_run(tmp_path) / "stage-A" / "weights.safetensors"
    path = toy_recipe("second.toml", name="second", stage=[{**STAGE_B, "init": str(file)}])
    done = engine("run", path)
    assert done.code == 0, done.err
    assert "weights stage-A/weights.safetensors: 7 tensors loaded" in done.out
    second = weights_of(only_run(tmp_path, "second"), "B")
    assert (second["base.head.weight"] == weights_of(only_run(tmp_path), "A")["base.head.weight"]).all()


def test_the_result_as_json_is_all_that_standard_output_holds(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A]), "--json")
    data = json.loads(done.out)
    assert [(row["stage"], row["moment"]) for row in data["rows"]] == [("A", "before"), ("A", "after")]
    assert "stage A" in done.err


@pytest.mark.parametrize("warp", [{"from": "gt", "to": "pred", "over": 0.5}, {"gt": 0.5, "pred": 0.5}, "pred"])
def test_a_stage_is_measured_with_every_alignment_it_trains_with(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, warp: object
) -> None:
    assert engine("run", toy_recipe(stage=[STAGE_A, {**STAGE_B, "warp": warp}])).code == 0
    after = [event["warp"] for event in events_of(only_run(tmp_path), "evaluated") if event["stage"] == "B"]
    assert after == (["pred"] if warp == "pred" else ["gt", "pred"])

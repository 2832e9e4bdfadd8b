"""`on_fail = "extend"`: the parent stage trains further, and the gate is asked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from toy_world import STAGE_A, STAGE_B, threshold

STOPPER = """
import os, signal
from engine.hookspecs import hookimpl

@hookimpl
def engine_step(event):
    if os.environ.get("STOP_AT") == f"{event.stage} {event.step}":
        os.kill(os.getpid(), signal.SIGTERM)
"""


def stages(limit: float, times: int = 3) -> list[dict[str, Any]]:
    gate = threshold("extend", at="entry", max=limit, of="base", extend={"steps": 20, "times": times})
    return [{**STAGE_A, "steps": 4}, {**STAGE_B, "steps": 4, "gate": [gate]}]


def test_the_parent_trains_further_until_the_gate_passes(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(stage=stages(0.65)))
    assert done.code == 0, done.out + done.err
    run = only_run(tmp_path)
    actions = [event["action"] for event in events_of(run, "gate_decided")]
    assert actions == ["extend"] * (len(actions) - 1) + ["go on"]
    assert 2 <= len(actions) <= 4
    values = [event["verdict"]["figures"]["value"] for event in events_of(run, "gate_decided")]
    assert values[0] > 0.65 >= values[-1]
    last = weights_of(run, f"A+{len(actions) - 1}-for-B")
    final = weights_of(run, "B")
    assert all((last[name] == final[name]).all() for name in last if name.startswith("base."))
    record = json.loads((run / "stage-B" / "record.json").read_text())
    assert record["source"].endswith(f"stage-A+{len(actions) - 1}-for-B/weights.safetensors")


def test_after_the_allowed_times_it_stops_with_4(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    done = engine("run", toy_recipe(stage=stages(0.0001, times=2)))
    assert done.code == 4
    run = only_run(tmp_path)
    assert [event["action"] for event in events_of(run, "gate_decided")] == ["extend", "extend", "stop"]
    extended = ["stage-A+1-for-B", "stage-A+2-for-B"]
    assert sorted(path.name for path in run.glob("stage-*")) == ["stage-A", *extended, "stage-B"]


def test_a_verdict_that_no_training_changes_stops_with_advice(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    gate = {"check": "feasibility", "on_fail": "extend", "extend": {"steps": 20, "times": 1}}
    done = engine("run", toy_recipe(stage=[{**STAGE_A, "steps": 4}, {**STAGE_B, "steps": 4, "gate": [gate]}]))
    assert done.code == 4
    run = only_run(tmp_path)
    (event,) = events_of(run, "gate_decided")
    assert (event["verdict"]["status"], event["action"]) == ("undetermined", "stop")
    assert "brings no more data to judge by" in event["verdict"]["advice"]
    assert 'accept = ["undetermined"]' in event["verdict"]["advice"]
    assert not list(run.glob("stage-A+*"))


@pytest.mark.parametrize("place", ["A+1-for-B 7", "B 2"])
def test_a_run_stopped_in_or_after_an_extension_goes_on_from_it(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "stopper.py").write_text(STOPPER)
    path = toy_recipe(stage=stages(0.65), train={"log_every": 1})
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "stopper.py"'))
    assert engine("run", path, "--runs", "untouched").code == 0
    monkeypatch.setenv("STOP_AT", place)
    assert engine("run", path).code == 5
    monkeypatch.delenv("STOP_AT")
    done = engine("run", path, "--resume")
    assert done.code == 0, done.out + done.err
    (untouched,) = (tmp_path / "untouched" / "toy").iterdir()
    one, other = weights_of(untouched, "B"), weights_of(only_run(tmp_path), "B")
    assert all((one[name] == other[name]).all() for name in one)
    records = [json.loads((run / "stage-B" / "record.json").read_text()) for run in (untouched, only_run(tmp_path))]
    assert Path(records[0]["source"]).parent.name == Path(records[1]["source"]).parent.name
    assert [gate["action"] for gate in records[1]["gates"]][-1] == "go on"


def test_the_final_table_of_a_resumed_run_tells_of_every_extension(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stopper.py").write_text(STOPPER)
    path = toy_recipe(stage=stages(0.0001, times=2), train={"log_every": 1})
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "stopper.py"'))
    assert engine("run", path, "--runs", "untouched").code == 4
    monkeypatch.setenv("STOP_AT", "A+2-for-B 7")
    assert engine("run", path).code == 5
    monkeypatch.delenv("STOP_AT")
    assert engine("run", path, "--resume").code == 4
    (untouched,) = (tmp_path / "untouched" / "toy").iterdir()
    tables = [json.loads((run / "status.json").read_text())["rows"] for run in (untouched, only_run(tmp_path))]
    assert [row["stage"] for row in tables[0]] == ["A", "A", "A+1-for-B", "A+2-for-B"]
    assert tables[0] == tables[1]


def test_every_gate_that_extends_the_parent_has_the_steps_that_it_asks_for(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    def gate(limit: float, steps: int) -> dict[str, Any]:
        return threshold("extend", at="entry", max=limit, of="base", extend={"steps": steps, "times": 1})

    two = {**STAGE_B, "steps": 2, "gate": [gate(0.67, 20), gate(0.615, 25)]}
    other = {**STAGE_B, "name": "C", "steps": 2, "gate": [gate(0.67, 30)]}
    done = engine("run", toy_recipe(stage=[{**STAGE_A, "steps": 4}, two, other]))
    assert done.code == 0, done.out + done.err
    started = {event["name"]: event["steps"] for event in events_of(only_run(tmp_path), "stage_started")}
    assert started == {"A": 4, "A+1-for-B": 20, "A+2-for-B": 25, "B": 2, "A+1-for-C": 30, "C": 2}

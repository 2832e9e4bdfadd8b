"""`engine runs list` and `show` tell of a run what its directory holds, whole or damaged."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe, only_run
from toy_world import PLUGIN, STAGE_A, STAGE_B, STAGE_C, threshold

from engine.files import held
from engine.runs.directory import LOCK

ROW = {"stage": "A", "moment": "after", "warp": "off", "mean": {"error": 0.5}, "base": {}}
GATE = {"check": "x", "at": "exit", "status": "pass", "action": "go on", "reason": "good"}
RECORD = {"status": "done", "seconds": 1.0, "rows": [ROW], "gates": [GATE]}
MEASURED = {"event": "evaluated", "stage": "A", "moment": "after", "data": "val", "evaluation": {"mean": {}}}

STOPPING = """
import os, signal
from toy_plugin import Options, ToyLoss
from engine.hookspecs import hookimpl

class Stopping(ToyLoss):
    calls = 0

    def __call__(self, prediction, batch):
        Stopping.calls += 1
        if Stopping.calls == 1 + 7:  # the first is the proof that gradients reach what trains
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__call__(prediction, batch)

@hookimpl
def engine_losses(register):
    register("stopping", Options, Stopping)
"""


@pytest.fixture
def run(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    """A run of which stage B was refused, after stage A was trained further for it."""
    extend = {"on_fail": "extend", "extend": {"steps": 3, "times": 1}}
    first = {**STAGE_A, "steps": 4, "gate": [threshold(max=9.0)]}
    stages = [first, {**STAGE_B, "gate": [threshold(max=0.01, at="entry") | extend]}, STAGE_C]
    assert engine("run", toy_recipe(stage=stages)).code == 4
    return only_run(tmp_path)


def stages_of(engine: Command, run: Path) -> dict[str, str]:
    """Stage -> its state."""
    shown = engine("runs", "show", run, "--json")
    assert shown.code == 0, shown.err
    return {stage["name"]: stage["state"] for stage in json.loads(shown.out)["stages"]}


def test_a_run_is_listed_with_its_state_its_stages_and_its_newest_figure(engine: Command, run: Path) -> None:
    listed = json.loads(engine("runs", "list", "toy", "--json").out)
    (found,) = listed["runs"]
    assert found["name"] == f"toy/{run.name}"
    assert found["state"] == "refused"
    assert [(stage["name"], stage["state"], stage["step"]) for stage in found["stages"]] == [
        ("A", "done", 4), ("A+1-for-B", "done", 3), ("B", "refused", 0), ("C", "waiting", 0),
    ]  # fmt: skip
    evaluation = json.loads((run / "stage-A+1-for-B" / "evaluation-after-off.json").read_text())
    assert found["last"] == {
        "metric": "error", "value": evaluation["mean"]["error"], "moment": "after", "stage": "A+1-for-B",
    }  # fmt: skip
    text = engine("runs", "list").out
    assert re.search(rf"toy/{run.name} +20\d\d-\d\d-\d\d \d\d:\d\d +refused +A A\+1-for-B done; B refused;", text)


def test_what_is_shown_of_a_run_is_what_its_end_told(engine: Command, run: Path) -> None:
    shown = engine("runs", "show", run.name[-6:])
    assert shown.code == 0, shown.err
    assert f"toy/{run.name} is refused" in shown.out
    told = json.loads((run / "status.json").read_text())
    assert told["message"].splitlines()[0] in shown.out
    found = json.loads(engine("runs", "show", run, "--json").out)
    assert found["rows"] == told["rows"]
    assert [(gate["stage"], gate["status"], gate["action"]) for gate in found["gates"]] == [
        ("A", "pass", "go on"), ("B", "fail", "extend"), ("B", "fail", "stop"),
    ]  # fmt: skip
    assert f"toy/{run.name}/report.html" in shown.out
    (run / "report.html").unlink()
    assert "report" not in engine("runs", "show", run).out


def test_a_run_that_told_no_end_is_running_while_a_process_holds_it(engine: Command, run: Path) -> None:
    (run / "status.json").unlink()
    (run / "stage-B" / "record.json").unlink()
    with held(run / LOCK, "this test"):
        assert stages_of(engine, run)["B"] == "running"
        assert json.loads(engine("runs", "list", "--json").out)["runs"][0]["state"] == "running"
    assert stages_of(engine, run)["B"] == "killed"
    assert f"go on with: engine run {run} --resume" in engine("runs", "show", run).out


def test_the_last_events_tell_where_an_unfinished_run_is(engine: Command, run: Path) -> None:
    (run / "status.json").unlink()
    (run / "stage-B" / "record.json").unlink()
    measured = {
        "event": "evaluated",
        "stage": "B",
        "moment": "step 4",
        "data": "val",
        "evaluation": {"mean": {"error": 0.125}},
    }
    with (run / "events.jsonl").open("a") as file:
        file.write("half a line, of which there may be many" * 2000 + "\n")
        for step in ({"event": "step", "stage": "B", "step": 4}, measured):
            file.write(json.dumps(step) + "\n")
        file.write('{"event": "st')
    (found,) = json.loads(engine("runs", "list", "--json").out)["runs"]
    assert (found["stages"][2]["step"], found["stages"][2]["state"]) == (4, "killed")
    assert (found["last"]["value"], found["last"]["moment"]) == (0.125, "step 4")
    assert "A A+1-for-B done; B at 4 of 12 killed;" in " ".join(engine("runs", "list").out.split())


def test_a_run_that_was_stopped_between_two_reports_is_at_the_step_that_it_made_last(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "stopping.py").write_text(STOPPING)
    path = toy_recipe(
        plugins=[str(PLUGIN), "stopping.py"], train={"losses": [{"name": "stopping"}], "log_every": 5}, stage=[STAGE_A]
    )
    stopped = engine("run", path)
    assert stopped.code == 5, stopped.err
    assert re.search(r"A base only +interrupted +7 of 12", stopped.out), "the table at its end"
    (found,) = json.loads(engine("runs", "list", "--json").out)["runs"]
    assert found["stages"][0]["step"] == 7


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("events.jsonl", "[" * 100_000),
        ("events.jsonl", json.dumps({"event": {}})),
        ("events.jsonl", json.dumps({**MEASURED, "evaluation": 5})),
        ("events.jsonl", json.dumps({**MEASURED, "evaluation": {"mean": {"error": []}}})),
    ],
)
def test_a_damaged_line_of_the_events_is_passed_over(engine: Command, run: Path, file: str, line: str) -> None:
    (run / "status.json").unlink()
    with (run / file).open("a") as events:
        events.write(line + "\n")
    for command in (["list"], ["show", run]):
        done = engine("runs", *command)
        assert done.code == 0, done.err
        assert "killed" in done.out
    assert engine("report", run).code == 0


@pytest.mark.parametrize("time", ["1e300", "17644249260000000", "1764.4.2", "NaN"])
def test_a_time_that_is_none_is_passed_over(engine: Command, run: Path, time: str) -> None:
    text = (run / "events.jsonl").read_text()
    (run / "events.jsonl").write_text(re.sub(r'"time": [\d.]+', f'"time": {time}', text, count=1))
    for command in (["runs", "list"], ["runs", "show", run], ["report", run]):
        done = engine(*command)
        assert done.code == 0, done.err


def test_brackets_in_what_a_run_says_are_no_markup(engine: Command, run: Path) -> None:
    (run / "status.json").write_text('{"status": "[/x]"}')
    for command in (["list"], ["show", run], ["compare", run, run]):
        done = engine("runs", *command)
        assert done.code == 0, done.err
        assert "[/x]" in done.out


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("recipe.json", "{"),
        ("recipe.json", '{"name": "toy", "stage": [1]}'),
        ("status.json", "[]"),
        ("stage-A/record.json", '{"status": "done", "rows": 1}'),
        ("stage-A/record.json", '{"status": "done", "rows": [], "gates": [{}]}'),
        ("stage-A/record.json", json.dumps({**RECORD, "seconds": "long"})),
        ("stage-A/record.json", json.dumps({**RECORD, "rows": [{**ROW, "warp": "prad"}]})),
        ("stage-A/record.json", json.dumps({**RECORD, "rows": [{**ROW, "mean": {"error": "low"}}]})),
        ("stage-A/record.json", json.dumps({**RECORD, "rows": [{**ROW, "base": 1.0}]})),
        ("stage-A/record.json", json.dumps({**RECORD, "gates": [{**GATE, "status": 1}]})),
    ],
)
def test_a_damaged_run_is_named_and_hides_no_other(engine: Command, run: Path, file: str, content: str) -> None:
    shutil.copytree(run, run.with_name("whole"))
    (run / file).write_text(content)
    listed = engine("runs", "list")
    assert listed.code == 0, listed.err
    assert "toy/whole" in listed.out
    assert f"left out: runs/toy/{run.name}/{file} is damaged" in listed.out
    shown = engine("runs", "show", run)
    assert shown.code == 1
    assert f"{file} is damaged" in shown.err


def test_a_run_is_found_by_a_part_of_its_name_and_a_mistake_names_the_nearest(engine: Command, run: Path) -> None:
    other = run.with_name(f"{run.name[:-6]}ffffff")
    other.symlink_to(run)
    for name, told in (
        ("fffffg", "Did you mean 'ffffff'?"),
        ("toy", "2 runs have 'toy' in their names: runs/toy/"),
        ("nothing-like-it", "there is no run 'nothing-like-it' under runs"),
    ):
        done = engine("runs", "show", name)
        assert done.code == 2
        assert told in done.err
    assert engine("runs", "list", "tooy").code == 2
    assert engine("runs", "list", "--runs", "elsewhere").code == 2

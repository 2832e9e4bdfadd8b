from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from conftest import Command, WriteRecipe, events_of, only_run
from toy_world import STAGE_A, STAGE_B, STAGE_C, threshold

from engine.errors import InputError
from engine.runs import directory
from engine.runs.provenance import provenance

KINDS = {
    "run_started": {"name", "directory", "stages", "resumed", "device"},
    "stage_started": {"name", "title", "index", "total", "steps", "source"},
    "stage_frozen": {"name", "trainable", "frozen", "digest", "zero_gradient"},
    "step": {"stage", "step", "steps", "loss", "terms", "gradient_norm", "learning_rate", "data_share", "skipped"},
    "evaluated": {"stage", "moment", "warp", "ablation", "evaluation", "data"},
    "gate_decided": {"stage", "at", "check", "verdict", "action"},
    "checkpoint_saved": {"stage", "step", "path", "best"},
    "stage_finished": {"name", "seconds", "weights", "frozen_digest"},
    "run_finished": {"status", "seconds", "directory", "summary", "message"},
    "note": {"level", "text", "details"},
}


@pytest.fixture
def run(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    path = toy_recipe(stage=[STAGE_A, STAGE_B, {**STAGE_C, "gate": [threshold(max=9.0)]}])
    assert engine("run", path).code == 0
    return only_run(tmp_path)


def test_a_run_holds_what_is_needed_to_understand_it(run: Path) -> None:
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    expected = {"recipe.json", "provenance.json", "status.json", "events.jsonl"}
    for stage in "ABC":
        expected |= {f"stage-{stage}/{name}" for name in ("weights.safetensors", "record.json", "frozen.json")}
        expected |= {f"stage-{stage}/checkpoints/step-0000012/manifest.json"}
    assert expected <= names
    assert not [name for name in names if "partial" in name], "nothing half-written is left"


def test_the_recipe_of_a_run_is_complete_and_runs_again(run: Path, engine: Command, tmp_path: Path) -> None:
    recipe = json.loads((run / "recipe.json").read_text())
    assert recipe["stage"][0]["optimizer"]["betas"] == [0.9, 0.999], "defaults are filled in"
    assert engine("run", run, "--runs", "again").code == 0
    (again,) = (tmp_path / "again" / "toy").iterdir()
    assert (
        json.loads((again / "status.json").read_text())["rows"] == json.loads((run / "status.json").read_text())["rows"]
    )


def test_every_event_is_one_line_with_the_fields_of_its_kind(run: Path) -> None:
    events = events_of(run)
    assert {event["event"] for event in events} == KINDS.keys()
    for event in events:
        assert KINDS[event["event"]] <= event.keys(), event["event"]
        assert isinstance(event["time"], float)
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_events_come_in_the_order_that_the_hooks_document(run: Path) -> None:
    order = [event["event"] for event in events_of(run) if event.get("stage") == "C" or event.get("name") == "C"]
    firsts = list(dict.fromkeys(order))
    assert firsts == [
        "stage_started", "stage_frozen", "step", "checkpoint_saved", "evaluated", "gate_decided", "stage_finished",
    ]  # fmt: skip
    assert events_of(run)[0]["event"] == "run_started"
    assert events_of(run)[-1]["event"] == "run_finished"


def test_a_line_of_the_log_says_which_of_its_figures_are_not_finite(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    train = {"nonfinite": {"policy": "skip"}, "log_every": 1}
    assert engine("run", toy_recipe(stage=[STAGE_A], data={"train": {"spoil": 1}}, train=train)).code == 0
    text = (only_run(tmp_path) / "events.jsonl").read_text()
    assert "NaN" not in text
    bad = [event for event in events_of(only_run(tmp_path), "step") if "not_finite" in event]
    assert bad
    assert all(event["loss"] is None and event["not_finite"]["loss"] == "nan" for event in bad)


def test_provenance_tells_command_commit_versions_and_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert provenance(0, {})["git"] is None
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@x")
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run([*git, *command], check=True)
    clean = provenance(7, {"toy": "nowhere 1.0"})
    assert len(clean["git"]["commit"]) == 40
    assert not clean["git"]["dirty"]
    assert clean["seed"] == 7
    assert clean["plugins"] == {"toy": "nowhere 1.0"}
    assert clean["versions"]["torch"] == torch.__version__
    assert clean["host"]["processors"] == os.cpu_count()
    (tmp_path / "new").write_text("")
    assert provenance(0, {})["git"]["dirty"]


def test_provenance_without_git_or_a_package_says_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("engine.runs.provenance.PACKAGES", ("no-such-package",))
    found = provenance(0, {})
    assert found["git"] is None
    assert found["versions"]["no-such-package"] is None


def test_the_status_tells_why_a_run_failed(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    assert engine("run", toy_recipe(stage=[{**STAGE_A, "gate": [threshold(max=0.01)]}])).code == 4
    status = json.loads((only_run(tmp_path) / "status.json").read_text())
    assert status["status"] == "refused"
    assert status["message"].startswith("gate 'threshold' at the exit of stage A")
    assert [row["moment"] for row in status["rows"]] == ["before", "after"]
    assert events_of(only_run(tmp_path), "run_finished")[0]["message"] == status["message"]


def test_the_newest_unfinished_run_is_found(tmp_path: Path) -> None:
    for name, status in (("20260101-a", "refused"), ("20260102-b", "interrupted"), ("20260103-c", "done")):
        folder = tmp_path / "toy" / name
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text("{}")
        (folder / "status.json").write_text(json.dumps({"status": status}))
    assert directory.unfinished(tmp_path, "toy").name == "20260102-b"
    crashed = tmp_path / "toy" / "20260104-d"
    crashed.mkdir()
    assert directory.unfinished(tmp_path, "toy").name == "20260102-b", "a folder without a recipe is no run"
    (crashed / "recipe.json").write_text("{}")
    assert directory.unfinished(tmp_path, "toy") == crashed
    with pytest.raises(InputError, match="no unfinished run of 'other'"):
        directory.unfinished(tmp_path, "other")


def test_a_run_that_still_runs_is_not_resumed(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(stage=[{**STAGE_A, "steps": 2}])
    assert engine("run", path).code == 0
    run = only_run(tmp_path)
    (run / "status.json").unlink()
    before = (run / "events.jsonl").read_text()
    with directory.alone(run):
        refused = engine("run", path, "--resume")
    assert refused.code == 1
    assert run.name in "".join(refused.err.split())
    assert "still going on" in " ".join(refused.err.split())
    assert (run / "events.jsonl").read_text() == before
    assert engine("run", path, "--resume").code == 0, "whoever held it is gone"

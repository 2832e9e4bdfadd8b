"""A stage that a run has finished is taken from there, as long as nothing it depends on has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command, WriteRecipe, events_of, weights_of
from forked import Forks
from toy_world import PLUGIN, RECIPE, STAGE_A, STAGE_B, STAGE_C, merged, system, threshold, toml

from engine.checkpoints.weights import write_weights
from engine.files import file_digest

# Everything that draws random numbers or keeps state, with files whose paths must not matter and whose content must.
DEMANDING: dict[str, Any] = {
    "plugins": ["toy_plugin.py"],
    "model": {"dropout": 0.3, "norm": True, "weights": "start.pt"},
    "train": {"batch_size": 2, "accumulate": 2, "ema": 0.8, "log_every": 4},
    "stage": [STAGE_A, {**STAGE_B, "warp": {"gt": 0.5, "pred": 0.5}, "gate": [threshold(max=9.0)]}, STAGE_C],
}


def write(folder: Path, **changes: Any) -> Path:
    """The demanding recipe with its files in `folder`."""
    shutil.copyfile(PLUGIN, folder / "toy_plugin.py")
    torch.save(system(norm=True).state_dict(), folder / "start.pt")
    path = folder / "toy.toml"
    path.write_text(toml(merged(merged(RECIPE, DEMANDING), changes)))
    return path


@pytest.fixture(scope="module")
def made(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the recipe has been run once."""
    folder = tmp_path_factory.mktemp("made")
    done = forks.run("run", write(folder), folder=folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def recipe(made: Path, tmp_path: Path) -> Path:
    """The recipe and its finished run, moved to the test's own folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "toy.toml"


@pytest.fixture
def planned(engine: Command) -> Callable[..., dict[str, str]]:
    """planned(recipe, "KEY=VALUE", ...): why each stage would run; empty where it would be reused."""

    def plan(recipe: Path, *changes: str) -> dict[str, str]:
        done = engine("plan", recipe, "--json", *(word for each in changes for word in ("--set", each)))
        assert done.code == 0, done.err
        stages = json.loads(done.out)["stages"]
        return {stage["name"]: "" if stage["reused_from"] else stage["reason"] for stage in stages}

    return plan


def runs_of(folder: Path) -> list[Path]:
    """The runs in a folder of runs, the oldest first."""
    return sorted((folder / "toy").iterdir(), key=lambda run: run.stat().st_ctime_ns)


def first_run(folder: Path) -> Path:
    return runs_of(folder / "runs")[0]


def last_run(folder: Path) -> Path:
    """The run that began last."""
    return max((folder / "runs" / "toy").iterdir(), key=lambda run: (run / "recipe.json").stat().st_mtime_ns)


def trained(run: Path) -> list[str]:
    return [event["name"] for event in events_of(run, "stage_finished")]


def notes(run: Path) -> str:
    return "\n".join(event["text"] for event in events_of(run, "note"))


def assert_identical(one: Path, other: Path) -> None:
    for stage in "ABC":
        first, second = weights_of(one, stage), weights_of(other, stage)
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), f"{name} of stage {stage}"


def test_a_recipe_that_has_been_run_is_taken_whole(engine: Command, recipe: Path, tmp_path: Path) -> None:
    first = first_run(tmp_path)
    done = engine("run", recipe)
    assert done.code == 0, done.err
    second = last_run(tmp_path)
    assert second != first
    assert trained(second) == []
    for stage in "ABC":
        assert f"stage {stage} is taken from runs/toy/{first.name}: nothing that it depends on has changed" in done.out
    tables = [json.loads((run / "status.json").read_text())["rows"] for run in (first, second)]
    assert tables[0] == tables[1] != []
    assert "threshold" in done.out[done.out.index("gates") :], "verdicts of stages that were taken are told"
    assert not list(second.glob("stage-*/checkpoints"))


def test_a_run_with_reused_stages_stands_alone(engine: Command, recipe: Path, tmp_path: Path) -> None:
    first = first_run(tmp_path)
    weights = first / "stage-B" / "weights.safetensors"
    assert engine("run", recipe, "--set", "stage.C.steps=2").code == 0
    second = last_run(tmp_path)
    assert (second / "stage-B" / "weights.safetensors").samefile(weights), "weights take no second place on the disk"
    names = {path.name for path in first.glob("stage-B/*")} - {"checkpoints"}
    assert {path.name for path in second.glob("stage-B/*")} == names | {"events.jsonl"}, "what it told as it trained"
    reused = json.loads((second / "stage-B" / "record.json").read_text())["reused"]
    assert reused["trained_in"] == reused["taken_from"] == f"runs/toy/{first.name}"
    assert reused["provenance"] == json.loads((first / "provenance.json").read_text())
    shutil.rmtree(first)
    assert "weights stage-C/weights.safetensors" in engine("eval", second).out
    assert engine("eval", recipe, "--weights", second / "stage-A").code == 0
    assert engine("run", recipe, "--set", "stage.C.steps=2").code == 0
    third = last_run(tmp_path)
    assert trained(third) == []
    reused = json.loads((third / "stage-B" / "record.json").read_text())["reused"]
    assert reused["trained_in"] == f"runs/toy/{first.name}", "where it was trained, not where it was taken from last"
    assert reused["taken_from"] == f"runs/toy/{second.name}"
    assert engine("run", second, "--resume").code == 0


def test_a_changed_last_stage_trains_to_the_bits_of_an_untouched_run(
    engine: Command, recipe: Path, tmp_path: Path
) -> None:
    change = ("--set", "stage.C.optimizer.lr=0.01")
    done = engine("run", recipe, *change)
    assert done.code == 0, done.err
    assert trained(last_run(tmp_path)) == ["C"]
    assert "stage C runs: stage.C.optimizer.lr was 0.02, is 0.01" in done.out
    assert engine("run", recipe, *change, "--runs", "untouched", "--fresh").code == 0
    (untouched,) = runs_of(tmp_path / "untouched")
    assert trained(untouched) == ["A", "B", "C"]
    assert_identical(last_run(tmp_path), untouched)
    tables = [json.loads((run / "status.json").read_text())["rows"] for run in (last_run(tmp_path), untouched)]
    assert tables[0] == tables[1]


def test_fresh_trains_every_stage(engine: Command, recipe: Path, tmp_path: Path) -> None:
    assert engine("run", recipe, "--fresh").code == 0
    assert trained(last_run(tmp_path)) == ["A", "B", "C"]
    assert_identical(first_run(tmp_path), last_run(tmp_path))


def test_fresh_begins_a_run_and_does_not_go_on_with_one(engine: Command, recipe: Path) -> None:
    done = engine("run", recipe, "--fresh", "--resume")
    assert done.code == 2
    assert "--resume goes on with a run, and --fresh begins one" in done.err


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ("stage.C.steps=13", {"C": "stage.C.steps was 12, is 13"}),
        ("stage.B.optimizer.lr=0.5", {"B": "stage.B.optimizer.lr was 0.02, is 0.5"}),
        ("stage.B.ema=0", {"B": "stage.B.ema was 0.8, is not set"}),
        ("stage.C.evaluate_every=3", {"C": "stage.C.evaluate_every was not set, is 3"}),
        ("stage.A.trainable=['base.head.*']", {"A": 'stage.A.trainable was ["base.**"], is ["base.head.*"]'}),
        ("seed=1", dict.fromkeys("ABC", "seed was 0, is 1")),
        ("model.dropout=0.2", dict.fromkeys("ABC", "model.dropout was 0.3, is 0.2")),
        ("injection.bound=2.0", dict.fromkeys("ABC", "injection.bound was 1.0, is 2.0")),
        ("data.train.offset=0.7", dict.fromkeys("ABC", "data.train.offset was 0.6, is 0.7")),
        ("data.val.count=9", dict.fromkeys("ABC", "data.val.count was 10, is 9")),
        ("evaluate.batch_size=3", dict.fromkeys("ABC", "evaluate.batch_size was 8, is 3")),
        ("train.workers=1", {}),
        ("train.log_every=1", {}),
        ("train.checkpoint_every=2", {}),
        ("train.keep=3", {}),
        ("evaluate.key=[]", {}),
        ("stage.A.title=another", {}),
        ("description=another", {}),
    ],
)
def test_what_a_stage_depends_on_and_nothing_else_makes_it_run(
    planned: Callable[..., dict[str, str]], recipe: Path, change: str, reasons: dict[str, str]
) -> None:
    expected: dict[str, str] = {}
    for stage, parent in (("A", ""), ("B", "A"), ("C", "B")):
        follows = f"its parent {parent} runs" if expected.get(parent) else ""
        expected[stage] = "; ".join(filter(None, [reasons.get(stage), follows]))
    assert planned(recipe, change) == expected


def test_a_changed_gate_is_asked_again(planned: Callable[..., dict[str, str]], recipe: Path, tmp_path: Path) -> None:
    gates = {"gate": [threshold(max=8.0)]}
    told = planned(write(tmp_path, stage=[STAGE_A, {**DEMANDING["stage"][1], **gates}, STAGE_C]))
    assert told == {"A": "", "B": "stage.B.gate.threshold.max was 9.0, is 8.0", "C": "its parent B runs"}


def test_another_recipe_is_taken_from_and_not_compared_with(
    planned: Callable[..., dict[str, str]], recipe: Path
) -> None:
    assert planned(recipe, "name=another") == {"A": "", "B": "", "C": ""}
    told = planned(recipe, "name=another", "stage.B.steps=3")
    assert told == {"A": "", "B": "no run has made it yet", "C": "its parent B runs"}


def test_code_and_files_count_by_their_content(
    planned: Callable[..., dict[str, str]], recipe: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    write(moved)
    assert planned(moved / "toy.toml") == {"A": "", "B": "", "C": ""}, "a path alone is nothing"
    (moved / "toy_plugin.py").write_text(PLUGIN.read_text() + "# an edit\n")
    assert planned(moved / "toy.toml")["A"] == "the code of plugin toy_plugin.py changed"
    torch.save(system(seed=1, norm=True).state_dict(), tmp_path / "start.pt")
    assert planned(recipe)["A"] == "the weights that [model] starts from changed"


def test_a_weights_file_that_init_names_counts_by_its_content(
    engine: Command, planned: Callable[..., dict[str, str]], toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    torch.save(system().state_dict(), tmp_path / "start.pt")
    path = toy_recipe(stage=[{**STAGE_B, "steps": 2, "init": "start.pt"}])
    assert engine("run", path).code == 0
    assert planned(path) == {"B": ""}
    torch.save(system(seed=1).state_dict(), tmp_path / "start.pt")
    assert planned(path) == {"B": "the weights that init names changed"}


def test_the_engines_own_code_counts(
    planned: Callable[..., dict[str, str]], recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.stages.key.engine_code", lambda: "other")
    assert planned(recipe)["A"] == "the code of the engine changed"
    monkeypatch.setattr("engine.stages.key.__version__", "99")
    assert planned(recipe)["A"].startswith("the code of the engine changed, ")
    assert planned(recipe)["A"].endswith(" is now 99")


CHANGING = '''
"""Data in a place of their own, which somebody changes."""
import os
from engine.hookspecs import hookimpl
from toy_plugin import DataOptions, ToyData

class Changing(ToyData):
    def __len__(self):
        return int(os.environ.get("COUNT", "24"))

    def sample(self, index, rng):
        sample = super().sample(index, rng)
        return {**sample, "image": sample["image"] + len(os.environ.get("SHIFT", ""))}

@hookimpl
def engine_datasets(register):
    register("changing", DataOptions, Changing)
'''


@pytest.mark.parametrize(
    ("variable", "reason"),
    [("COUNT", "data.train held 24 samples, and holds 2"), ("SHIFT", "the first sample of data.train is another")],
)
def test_data_that_changed_in_their_place_are_noticed_when_the_run_reads_them(
    engine: Command,
    toy_recipe: WriteRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    reason: str,
) -> None:
    (tmp_path / "changing.py").write_text(CHANGING)
    stages = [{**STAGE_A, "steps": 2}, {**STAGE_B, "steps": 2}]
    path = toy_recipe(plugins=[str(PLUGIN), "changing.py"], data={"train": {"plugin": "changing"}}, stage=stages)
    assert engine("run", path).code == 0
    monkeypatch.setenv(variable, "2")
    done = engine("run", path)
    assert f"stage A runs: {reason}" in done.out
    assert "stage B runs: its parent A runs" in done.out
    assert trained(last_run(tmp_path)) == ["A", "B"]


def test_a_stage_that_a_gate_refused_is_never_taken(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    stages = [{**STAGE_A, "steps": 2}, {**STAGE_B, "steps": 2, "gate": [threshold(max=0.01)]}]
    path = toy_recipe(stage=stages)
    assert engine("run", path).code == 4
    refused = first_run(tmp_path)
    again = engine("run", path)
    assert again.code == 4
    assert f"stage A is taken from runs/toy/{refused.name}" in again.out
    assert f"stage B runs: runs/toy/{refused.name} has not finished it" in again.out
    assert [gate["check"] for gate in events_of(last_run(tmp_path), "run_finished")[0]["gates"]] == ["threshold"]


STOPPER = """
import os, signal
from engine.hookspecs import hookimpl

@hookimpl
def engine_step(event):
    if os.environ.get("STOP_AT") == f"{event.stage} {event.step}":
        os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.fixture
def stopped(engine: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe whose run took stages A and B from another and was stopped in stage C."""
    (tmp_path / "stopper.py").write_text(STOPPER)
    recipe.write_text(recipe.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "stopper.py"'))
    monkeypatch.setenv("STOP_AT", "C 4")
    done = engine("run", recipe, "--set", "stage.C.steps=8")
    assert done.code == 5, done.err
    assert "stage B is taken from" in done.out
    monkeypatch.delenv("STOP_AT")
    return recipe


def test_an_interrupted_run_resumes_from_what_it_took_and_is_not_taken_from(
    engine: Command, stopped: Path, tmp_path: Path
) -> None:
    change = ("--set", "stage.C.steps=8")
    run = last_run(tmp_path)
    shutil.rmtree(first_run(tmp_path))
    resumed = engine("run", run, "--resume")
    assert resumed.code == 0, resumed.err
    assert trained(run) == ["C"]
    assert engine("run", stopped, *change, "--runs", "untouched", "--fresh").code == 0
    assert_identical(run, runs_of(tmp_path / "untouched")[0])


def test_a_stage_that_went_on_with_other_code_is_never_taken(
    engine: Command, planned: Callable[..., dict[str, str]], stopped: Path, tmp_path: Path
) -> None:
    run = last_run(tmp_path)
    assert planned(stopped, "stage.C.steps=8")["C"] == f"runs/toy/{run.name} has not finished it"
    code = (tmp_path / "toy_plugin.py").read_text()
    (tmp_path / "toy_plugin.py").write_text(code + "# an edit\n")
    assert engine("run", run, "--resume").code == 0
    assert planned(stopped, "stage.C.steps=8")["C"]
    (tmp_path / "toy_plugin.py").write_text(code)
    assert planned(stopped, "stage.C.steps=8")["C"]


def test_a_damaged_key_ends_no_run_that_is_resumed(engine: Command, stopped: Path, tmp_path: Path) -> None:
    run = last_run(tmp_path)
    (run / "stage-C" / "key.json").write_text("{")
    resumed = engine("run", run, "--resume")
    assert resumed.code == 0, resumed.err
    assert "stage-C/key.json is damaged" in notes(run)
    assert "no other run will reuse the stage" in notes(run)
    assert trained(run) == ["C"]


@pytest.mark.parametrize("part", ["record.json", "weights.safetensors", "key.json"])
def test_a_damaged_stage_runs_with_a_warning_that_names_the_file(
    engine: Command, recipe: Path, tmp_path: Path, part: str
) -> None:
    (first_run(tmp_path) / "stage-C" / part).write_bytes(b'{"status": "done", "of": []}')
    done = engine("run", recipe)
    assert done.code == 0, done.err
    run = last_run(tmp_path)
    assert trained(run) == ["C"]
    (warning,) = [event["text"] for event in events_of(run, "note") if event["level"] == "warning"]
    assert f"stage-C/{part} is damaged" in warning
    assert warning.endswith("that stage is not reused")


def test_damaged_verdicts_of_a_stage_are_not_taken(engine: Command, recipe: Path, tmp_path: Path) -> None:
    path = first_run(tmp_path) / "stage-B" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gates": ["passed"]}))
    assert engine("run", recipe).code == 0
    assert "stage-B/record.json is damaged: its 'gates' are of another kind" in notes(last_run(tmp_path))


def test_a_stage_trained_from_other_weights_of_its_parent_is_not_taken(
    engine: Command, planned: Callable[..., dict[str, str]], recipe: Path, tmp_path: Path
) -> None:
    assert engine("run", recipe, "--set", "stage.B.steps=2").code == 0
    newer, older = last_run(tmp_path), first_run(tmp_path)
    newer = newer.rename(newer.with_name("99999999-newer"))
    # As on a GPU: the same key, other bits. The newest A is taken, and only that run's B was trained from it.
    other = {name: tensor + 1 for name, tensor in weights_of(newer, "A").items()}
    (newer / "stage-A" / "weights.safetensors").unlink()
    write_weights(newer / "stage-A" / "weights.safetensors", other)
    record = newer / "stage-A" / "record.json"
    digest = file_digest(newer / "stage-A" / "weights.safetensors")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"weights_digest": digest}))
    assert planned(recipe)["B"] == f"runs/toy/{older.name} trained it from other weights of A"
    assert planned(recipe, "stage.B.steps=2")["B"] == ""


@pytest.mark.parametrize("what", ["recipe", "run", "stage", "weights"])
def test_links_lead_nowhere(engine: Command, recipe: Path, tmp_path: Path, what: str) -> None:
    outside = tmp_path / "outside"
    run = first_run(tmp_path)
    linked = {
        "recipe": run.parent,
        "run": run,
        "stage": run / "stage-A",
        "weights": run / "stage-A" / "weights.safetensors",
    }[what]
    linked.rename(outside)
    linked.symlink_to(outside)
    done = engine("plan", recipe)
    assert done.code == 0, done.err
    warning = next(line for line in done.out.splitlines() if line.endswith("that stage is not reused"))
    assert "is a link;" in warning or "is behind a link that leads out of runs;" in warning
    assert "reuse (" not in done.out


def test_extensions_of_the_parent_come_along(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    gate = threshold("extend", at="entry", max=0.65, of="base", extend={"steps": 20, "times": 3})
    stages = [{**STAGE_A, "steps": 4}, {**STAGE_B, "steps": 2, "gate": [gate]}, {**STAGE_C, "steps": 2}]
    path = toy_recipe(stage=stages)
    assert engine("run", path).code == 0
    first = first_run(tmp_path)
    extended = sorted(folder.name for folder in first.glob("stage-A+*"))
    assert extended
    assert engine("run", path, "--set", "stage.C.steps=3").code == 0
    second = last_run(tmp_path)
    assert trained(second) == ["C"]
    assert sorted(folder.name for folder in second.glob("stage-A+*")) == extended
    source = json.loads((second / "stage-B" / "record.json").read_text())["source"]
    assert (second / source).is_file()
    tables = [json.loads((run / "status.json").read_text())["rows"] for run in (first, second)]
    assert tables[0][:-1] == tables[1][:-1], "the table tells of extensions that were taken"


def test_an_extension_for_another_stage_stays_behind(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    def write(steps: int) -> Path:
        gate = threshold("extend", at="entry", max=0.65, of="base", extend={"steps": steps, "times": 1})
        asks, asks_not = {**STAGE_B, "steps": 2, "gate": [gate]}, {**STAGE_B, "name": "C", "steps": 2}
        return toy_recipe(stage=[{**STAGE_A, "steps": 4}, asks, asks_not])

    assert engine("run", write(20)).code == 0
    assert engine("run", write(40)).code == 0
    run = last_run(tmp_path)
    started = {event["name"]: event["steps"] for event in events_of(run, "stage_started")}
    assert started == {"A+1-for-B": 40, "B": 2}
    assert f"stage C is taken from runs/toy/{first_run(tmp_path).name}" in notes(run)


def test_plan_says_for_every_stage_whether_it_runs(engine: Command, recipe: Path, tmp_path: Path) -> None:
    run = f"runs/toy/{first_run(tmp_path).name}"
    told = engine("plan", recipe, "--set", "stage.C.steps=3").out
    assert told.count(f"  reuse (from {run}): nothing that it depends on has changed\n") == 2
    assert told.count("  run: stage.C.steps was 12, is 3\n") == 1
    assert engine("plan", recipe, "--runs", "elsewhere").out.count("  run: no run has made it yet\n") == 1


TWICE = """
from engine.cli.main import main
for _ in range(2):
    try:
        main()
    except SystemExit as ended:
        assert not ended.code
"""


def test_several_processes_take_the_same_stages(
    process: Command, engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "twice.py").write_text(TWICE)
    path = toy_recipe(train={"batch_size": 2}, stage=[{**STAGE_A, "steps": 2}, {**STAGE_B, "steps": 2}])
    two = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "twice.py")
    done = process("run", path, launcher=two, ACCELERATE_USE_CPU="true")
    assert done.code == 0, done.err
    assert done.out.count("stage B is taken from") == 1, "one process tells, the other is quiet"
    assert sorted(trained(run) for run in runs_of(tmp_path / "runs")) == [[], ["A", "B"]]
    assert engine("plan", path, "--processes", "2").out.count("  reuse (from ") == 2
    assert "  run: processes was 2, is 1\n" in engine("plan", path).out

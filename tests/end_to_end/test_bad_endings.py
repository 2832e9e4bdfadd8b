"""Every way in which a run can end badly: its exit code, what it says, what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import Command, Outcome, WriteRecipe, events_of, only_run
from toy_world import STAGE_A, STAGE_B, STAGE_C, system, threshold, toml


def status(folder: Path) -> str:
    found: str = json.loads((only_run(folder) / "status.json").read_text())["status"]
    return found


def errors(outcome: Outcome) -> list[str]:
    """The lines of standard error that tell of an error; none of them may be a traceback."""
    assert "Traceback" not in outcome.err + outcome.out
    return [line for line in outcome.err.splitlines() if line.startswith("error ")]


def test_a_gate_that_fails_stops_the_run_with_4(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    done = engine("run", toy_recipe(stage=[{**STAGE_A, "gate": [threshold(max=0.01)]}, STAGE_B]))
    assert done.code == 4
    (line,) = errors(done)
    assert "gate 'threshold' at the exit of stage A says fail: error 0." in line
    assert status(tmp_path) == "refused"
    assert not (only_run(tmp_path) / "stage-B").exists()
    assert not (only_run(tmp_path) / "stage-A" / "weights.safetensors").exists()
    record = json.loads((only_run(tmp_path) / "stage-A" / "record.json").read_text())
    assert record["status"] == "refused"
    assert record["gates"][0]["figures"]["max"] == 0.01


def test_an_entry_gate_stops_before_the_first_step(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    done = engine("run", toy_recipe(stage=[{**STAGE_A, "gate": [threshold(at="entry", max=0.01)]}]))
    assert done.code == 4
    assert not events_of(only_run(tmp_path), "step")


def test_a_verdict_that_is_only_warned_of_is_recorded_as_overridden(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(stage=[{**STAGE_A, "gate": [threshold("warn", max=0.01)]}]))
    assert done.code == 0
    (event,) = events_of(only_run(tmp_path), "gate_decided")
    assert (event["verdict"]["status"], event["action"]) == ("fail", "go on, overridden")


def test_divergence_stops_with_3_and_keeps_the_batch(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A], data={"train": {"spoil": 1}}, train={"log_every": 3}))
    assert done.code == 3
    (line,) = errors(done)
    assert "stage A: loss not finite at step" in line
    assert status(tmp_path) == "diverged"
    (kept,) = (only_run(tmp_path) / "stage-A").glob("nonfinite-step-*.pt")
    assert str(kept.relative_to(tmp_path)) in line
    (batch,) = torch.load(kept, weights_only=True)
    assert "train-1" in batch["id"]
    assert batch["image"].isnan().any()


def test_a_first_batch_that_is_not_finite_is_found_before_the_first_step(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A], data={"train": {"spoil": 0, "count": 1}}))
    assert done.code == 3
    assert "the first batch gives gradients that are not finite in base.encoder.0.bias" in errors(done)[0]
    assert not events_of(only_run(tmp_path), "step")


def test_skipping_counts_the_bad_steps_and_goes_on(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    train = {"nonfinite": {"policy": "skip"}, "log_every": 3}
    done = engine("run", toy_recipe(stage=[STAGE_A], data={"train": {"spoil": 1}}, train=train))
    assert done.code == 0, done.err
    run = only_run(tmp_path)
    bad = [note["details"]["step"] for note in events_of(run, "note") if "step" in note["details"]]
    assert len(bad) == 2, "24 samples in batches of 4 for 12 steps: each sample is seen twice"
    assert events_of(run, "step")[-1]["skipped"] == 2
    assert (run / "stage-A" / f"nonfinite-step-{bad[0]}.pt").exists()
    assert events_of(run, "evaluated")[-1]["evaluation"]["mean"]["error"] < 2


def test_more_skipped_steps_than_allowed_stop_with_3(engine: Command, toy_recipe: WriteRecipe) -> None:
    train = {"nonfinite": {"policy": "skip", "limit": 1}}
    done = engine("run", toy_recipe(stage=[STAGE_A], data={"train": {"spoil": 1}}, train=train))
    assert done.code == 3
    assert errors(done) == ["error stage A: 2 steps were not finite, 1 are allowed"]


def test_a_base_that_writes_while_frozen_stops_with_1_and_is_named_alone(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A, STAGE_B], model={"writes_when_frozen": True, "norm": True}))
    assert done.code == 1
    (line,) = errors(done)
    assert "stage B: 1 frozen tensors changed while it trained: base.calls;" in line
    assert status(tmp_path) == "failed"
    assert not (only_run(tmp_path) / "stage-B" / "weights.safetensors").exists()


def test_an_injection_that_only_claims_to_start_at_zero_stops_with_1(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A, STAGE_B], injection={"first": 0.1}))
    assert done.code == 1
    assert "ToyInjection declares zero_init" in errors(done)[0]


def test_what_is_missing_is_told_before_a_run_directory_is_made(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(stage=[{**STAGE_A, "init": "gone.safetensors"}]))
    assert done.code == 1
    assert "there is no weights file" in done.err
    assert not (tmp_path / "runs").exists(), "a dead run would be what --resume finds"


def test_a_weights_file_that_went_missing_stops_with_1(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    assert engine("run", toy_recipe(stage=[{**STAGE_A, "gate": [threshold(max=0.01)]}, STAGE_B])).code == 4
    gone = engine("eval", only_run(tmp_path), "--weights", "nothing.pth")
    assert gone.code == 1
    assert errors(gone) == ["error no weights file at nothing.pth"]


def test_weights_of_another_size_stop_with_2_and_are_named(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    torch.save(system(width=6).base.state_dict(), tmp_path / "wide.pth")
    done = engine("run", toy_recipe(model={"weights": "wide.pth"}))
    assert done.code == 2
    assert "base.encoder" not in errors(done)[0]
    assert "encoder.0.weight (file (6, 1, 3, 3), module (4, 1, 3, 3))" in errors(done)[0]


def test_a_broken_recipe_stops_with_2_at_file_line_and_column(
    process: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = toy_recipe(stage=[{**STAGE_A, "stepps": 3}], train={"batch_size": "4"})
    lines = path.read_text().splitlines()
    done = process("run", path.name)
    assert done.code == 2
    assert len(errors(done)) == 2, done.err
    for line, key in zip(errors(done), ("batch_size", "stepps"), strict=True):
        row = next(number for number, text in enumerate(lines, 1) if key in text)
        column = lines[row - 1].index(key) + 1
        place, _, _ = line.removeprefix("error ").partition(": ")
        name, at_row, at_column = place.split(":")
        assert (name, int(at_row)) == (path.name, row)
        assert int(at_column) >= column
    assert "'steps'" in errors(done)[1]
    assert not (tmp_path / "runs").exists()


def test_a_glob_without_match_stops_with_2_and_lists_near_names(engine: Command, toy_recipe: WriteRecipe) -> None:
    path = toy_recipe(stage=[{**STAGE_A, "trainable": ["base.encodr.**"]}, {**STAGE_B, "frozen": ["base.haed"]}])
    done = engine("run", path)
    assert done.code == 2
    first, second = errors(done)
    row = path.read_text().splitlines().index("stage = [") + 2
    column = path.read_text().splitlines()[row - 1].index('"base.encodr') + 1
    assert f"{path}:{row}:{column}: pattern 'base.encodr.**' matches no module" in first
    assert "base.encoder.**" in first
    assert "base.head" in second


def test_tensors_that_no_loss_reaches_stop_with_2(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    spoilt = tmp_path / "detached.py"
    spoilt.write_text(
        "from pydantic import BaseModel\n"
        "from engine.hookspecs import hookimpl\n"
        "class Nothing(BaseModel):\n    pass\n"
        "class BaseLoss:\n"
        "    def __init__(self, options):\n        pass\n"
        "    def __call__(self, prediction, batch):\n        return prediction.base.value.square().mean()\n"
        "@hookimpl\ndef engine_losses(register):\n    register('base-only', Nothing, BaseLoss)\n"
    )
    path = toy_recipe(stage=[STAGE_A, {**STAGE_C, "init": "A", "losses": [{"name": "base-only"}]}])
    path.write_text(path.read_text().replace("toy_plugin.py", 'toy_plugin.py", "detached.py'))
    done = engine("run", path)
    assert done.code == 2
    assert "2 trainable tensors receive no gradient from this stage's losses" in errors(done)[0]
    assert "injection.head.bias, injection.head.weight" in errors(done)[0]
    assert "freeze them by name" in done.err


def test_a_data_set_without_samples_stops_with_2(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A], data={"val": {"count": 0}}))
    assert done.code == 2
    assert "data.val holds no samples" in errors(done)[0]


@pytest.mark.parametrize("arguments", [["run"], ["nonsense"], ["run", "toy.toml", "--nonsense"]])
def test_a_wrong_command_line_stops_with_2(engine: Command, arguments: list[str]) -> None:
    assert engine(*arguments).code == 2


def test_a_recipe_without_stages_cannot_be_run(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("run", toy_recipe(stage=[]))
    assert done.code == 2
    assert "declares no stages" in errors(done)[0]
    assert "engine eval" in done.err


def test_a_run_directory_that_cannot_be_made_stops_with_1(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = engine("run", toy_recipe(), "--runs", "file")
    assert done.code == 1
    assert "the run directory file/toy/" in errors(done)[0]


def test_a_run_that_would_validate_on_its_training_scenes_stops_with_2(engine: Command, tmp_path: Path) -> None:
    scenes = {"plugin": "polarized_scenes", "count": 5, "height": 64, "width": 64}
    recipe = {
        "name": "leak",
        "model": {"plugin": "s2m2", "size": "nano"},
        "data": {"train": scenes, "val": {**scenes, "count": 4}},
        "train": {"losses": [{"name": "disparity_l1"}], "batch_size": 2},
        "stage": [{**STAGE_A, "steps": 1}],
    }
    (tmp_path / "leak.toml").write_text(toml(recipe))
    done = engine("run", "leak.toml")
    assert done.code == 2
    assert "data.val holds 4 scenes that data.train trains on (train-00000 of seed 0, " in errors(done)[0]
    assert 'split = "val"' in done.err

"""Recipes hold what their contract asks, every option of MoGe's trainer has its key, and the guide is true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from checkout_world import FOLDERS, one_stage, tiny
from conftest import Command, events_of, only_run

import engine as library

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
GUIDE = (ROOT / "docs" / "foundation_stereo.md").read_text()
HERE = f"model.checkout={FOLDERS['foundation_stereo']}"


def resolved(name: str) -> dict[str, Any]:
    return library.load_recipe(RECIPES / f"{name}.toml", [HERE]).resolved()


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading of the guide, without its head."""
    section = GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_recipe_from_the_beginning_has_what_the_pipeline_promises() -> None:
    made = resolved("foundation_stereo")
    (stage,) = made["stage"]
    model = made["model"]
    assert (model["vit_size"], model["max_disp"], model["train_iters"]) == ("vitl", 416, 22)
    assert set(model["checkpoint_segments"]) == {"update", "volume", "features"}
    assert not model["allow_random_backbone"]
    assert (stage["precision"], stage["clip_norm"], stage["ema"]) == ("bf16", 1.0, 0.999)
    assert (stage["optimizer"]["name"], stage["optimizer"]["lr"]) == ("adamw", 1e-4)
    assert (stage["schedule"]["name"], stage["schedule"]["warmup"]) == ("cosine", 0.01)
    assert stage["nonfinite"]["policy"] == "skip"
    assert [loss["name"] for loss in stage["losses"]] == ["initial_disparity", "sequence"]
    given = {key for key, value in made["data"]["train"]["augment"].items() if value}
    assert given == {"flip_vertical", "scale", "y_jitter", "colour", "erase"}
    assert made["data"]["train"]["crop"] == [320, 736]
    assert made["tracker"] == [], "no server is asked for"


def test_the_recipe_for_fine_tuning_has_the_defaults_of_the_adapters_contract() -> None:
    made = resolved("foundation_stereo_finetune")
    (stage,) = made["stage"]
    optimizer, model = stage["optimizer"], made["model"]
    assert (optimizer["lr"], optimizer["weight_decay"]) == (1e-5, 0.0)
    rates = {group["match"]: group["lr"] for group in optimizer["groups"]}
    assert rates == {"base.feature.stem.**": 1e-6, "base.feature.stages.**": 1e-6}
    assert (model["train_iters"], model["max_disp"], model["freeze_bn"]) == (22, 416, True)
    assert made["data"]["train"]["crop"] == [320, 736]
    assert (stage["clip_norm"], stage["precision"], stage["ema"]) == (1.0, "bf16", 0.999)
    sequence = next(loss for loss in stage["losses"] if loss["name"] == "sequence")
    assert (sequence["rule"], sequence["gamma"]) == ("spread", 0.9)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("model.vitsize=vitl", "unknown key 'vitsize' in [model]. Did you mean 'vit_size'"),
        ("train.presision=bf16", "unknown key 'presision' in [train]. Did you mean 'precision'"),
        ("train.ema=1.5", "--set train.ema=1.5"),
    ],
)
def test_a_typo_and_a_wrong_value_are_one_line_and_end_with_2(engine: Command, wrong: str, words: str) -> None:
    checked = engine("check", RECIPES / "foundation_stereo.toml", "--set", HERE, "--set", wrong)
    assert checked.code == 2
    (line,) = checked.err.splitlines()
    assert words in line


def test_every_option_of_moges_trainer_has_a_key_or_is_said_to_have_none(engine: Command) -> None:
    rows = table("From MoGe's trainer")
    options = {name for option, *_ in rows for name in re.findall(r"`([^`]+)`", option)}
    assert options >= {
        *("config", "workspace", "checkpoint", "batch_size_forward", "gradient_accumulation_steps", "seed"),
        *("enable_gradient_checkpointing", "enable_mixed_precision", "enable_ema", "num_iterations", "save_every"),
        *("log_every", "vis_every", "num_vis_images", "enable_mlflow", "optimizer", "lr_scheduler", "loss"),
        *("low_resolution_training_steps", "area_range", "aspect_ratio_range", "image_augmentation", "datasets"),
    }
    values = [text for *_, example in rows for text in re.findall(r"`([^`]+)`", example)]
    assert len(values) >= 12
    sets = [word for value in values for word in ("--set", value.replace("\\|", "|"))]
    checked = engine("check", RECIPES / "foundation_stereo.toml", "--set", HERE, *sets)
    assert checked.code == 0, checked.err


def test_every_file_that_the_account_names_is_there() -> None:
    rows = table("What is shown, and how")
    named = {name for row in rows for name in re.findall(r"`([\w./*-]+\.(?:py|toml|md))`", " ".join(row))}
    assert len(named) > 15
    folders = ("", "tests/engine_checkouts/", "tests/engine_stereo/", "tests/end_to_end/", "recipes/", "plugins/")
    lost = {name for name in named if not any(list(ROOT.glob(f"{folder}{name}")) for folder in folders)}
    assert not lost


def test_the_small_recipe_for_the_other_network_trains(engine: Command, tmp_path: Path) -> None:
    small = {"stage.train.steps": 2, "data.train.count": 2, "data.val.count": 1, "model.train_iters": 2}
    sets = [word for key, value in small.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    checkout = f"model.checkout={FOLDERS['raft_stereo']}"
    done = engine("run", RECIPES / "raft_stereo_tiny.toml", "--set", checkout, *sets)
    assert done.code == 0, done.err
    assert [event["step"] for event in events_of(only_run(tmp_path, "raft_stereo_tiny"), "checkpoint_saved")][-1] == 2


LOSSES = {
    "disparity_l1": {},
    "disparity_smooth_l1": {"beta": 2.0},
    "sequence": {"weights": [0.1, 0.5, 1.0], "average": "samples"},
    "initial_disparity": {"at": "full"},
    "disparity_edges": {"weight": 0.2},
    "photometric": {"weight": 0.1},
    "smoothness": {"weight": 0.02},
}


def test_every_loss_is_chosen_by_its_name_and_told_as_a_term(engine: Command, tmp_path: Path) -> None:
    recipe = one_stage(tmp_path, "foundation_stereo", FOLDERS["foundation_stereo"])

    def asked(losses: dict[str, dict[str, Any]]) -> list[str]:
        tables = [
            "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in {"name": name, **more}.items()) + "}"
            for name, more in losses.items()
        ]
        return ["--set", f"train.losses=[{', '.join(tables)}]"]

    done = engine("run", recipe, *tiny(1), *asked(LOSSES))
    assert done.code == 0, done.err
    (step,) = events_of(only_run(tmp_path, "foundation_stereo"), "step")
    assert step["terms"].keys() == LOSSES.keys()
    assert step["loss"] == pytest.approx(sum(step["terms"].values()), rel=1e-5)
    assert min(step["terms"].values()) > 0

    twelve = engine("run", recipe, *tiny(1), *asked({"sequence": {"weights": [1.0] * 12}}))
    assert twelve.code == 2
    assert "has 12 weights, and the model made 3 estimates" in twelve.err

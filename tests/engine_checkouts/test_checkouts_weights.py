"""What weights belong to beside their names: the attention's axis in every file, and the files a stage follows from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from checkout_world import FOLDERS, STAND_INS, copied, network, one_stage, tiny
from conftest import Command, events_of
from engine_checkouts.ship import ship
from safetensors import safe_open
from safetensors.torch import load_file, save_file

HERE = FOLDERS["foundation_stereo"]
AXIS = "was trained with disparity_attention = 'paper', and the model has 'checkout'"


def axis_of(path: Path) -> str | None:
    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get("disparity_attention")


def run_of(engine: Command, folder: Path, *more: str, steps: int = 2) -> Path:
    done = engine("run", one_stage(folder, "foundation_stereo", HERE), *tiny(steps, train__ema=0.5), *more)
    assert done.code == 0, done.err
    return max((folder / "runs" / "foundation_stereo").iterdir(), key=lambda run: run.stat().st_ctime_ns)


def sets(*pairs: str) -> Sequence[str]:
    return [word for pair in pairs for word in ("--set", pair)]


def test_every_weights_file_says_which_axis_it_learnt_and_loading_it_with_the_other_is_told(
    engine: Command, tmp_path: Path
) -> None:
    run = run_of(engine, tmp_path, *sets("model.disparity_attention=paper"))
    checkpoint = "stage-train/checkpoints/step-0000002"
    files = (
        f"{checkpoint}/average.safetensors",
        f"{checkpoint}/weights.safetensors",
        "stage-train/weights.safetensors",
    )
    assert {path.relative_to(run).as_posix(): axis_of(path) for path in run.rglob("*.safetensors")} == dict.fromkeys(
        files, "paper"
    )
    shipped = ship(run, tmp_path / "shipped")
    assert torch.load(shipped, weights_only=True)["disparity_attention"] == "paper"

    recipe, small = tmp_path / "foundation_stereo.toml", tiny(2)
    other = sets("model.disparity_attention=checkout")
    for weights in (run, run / "stage-train" / "checkpoints" / "latest", shipped):
        told = " ".join(engine("eval", recipe, *small, *other, "--weights", weights).out.split())
        assert AXIS in told, weights
    same = engine("eval", recipe, *small, *sets("model.disparity_attention=paper"), "--weights", run)
    assert same.code == 0
    assert "was trained with" not in same.out
    again = engine("run", recipe, *tiny(1), *other, *sets(f"model.weights={shipped}"))
    assert again.code == 0, again.err
    newest = max((tmp_path / "runs" / "foundation_stereo").iterdir(), key=lambda each: each.stat().st_ctime_ns)
    assert [event["level"] for event in events_of(newest, "note") if AXIS in event["text"]] == ["warning"]


def test_a_run_is_shipped_whatever_its_checkout_has_become(engine: Command, tmp_path: Path) -> None:
    folder = copied(HERE, tmp_path / "FoundationStereo")
    recipe = one_stage(tmp_path, "foundation_stereo", folder)
    assert engine("run", recipe, *tiny(1)).code == 0
    (run,) = (tmp_path / "runs" / "foundation_stereo").iterdir()
    with (folder / "core" / "submodule.py").open("a") as code:
        code.write("\n# of a later commit\n")
    done = engine("ship", run, "shipped")
    assert done.code == 0, done.err
    about = torch.load(tmp_path / "shipped" / "model_best_bp2.pth", weights_only=True)
    assert about["commit"] == json.loads((run / "recipe.json").read_text())["model"]["commit"]
    assert about["disparity_attention"] == "checkout"


def test_an_axis_that_a_file_does_not_tell_is_not_shipped_as_one(engine: Command, tmp_path: Path) -> None:
    run = run_of(engine, tmp_path, steps=1)
    weights = run / "stage-train" / "weights.safetensors"
    save_file(load_file(weights), weights)
    assert "disparity_attention" not in torch.load(ship(run, tmp_path / "shipped"), weights_only=True)


def test_a_checkout_whose_own_code_runs_along_disparity_needs_no_patch_to_be_the_papers(tmp_path: Path) -> None:
    folder = copied(HERE, tmp_path / "FoundationStereo")
    code = folder / "core" / "submodule.py"
    code.write_text(
        code.read_text().replace(
            "F.scaled_dot_product_attention(*split.unbind(2))",
            "F.scaled_dot_product_attention(*(s.transpose(1, 2) for s in split.unbind(2))).transpose(1, 2)",
        )
    )
    traits = [network(checkout=each).traits for each in (folder, STAND_INS / "FoundationStereo")]
    assert traits == [{"disparity_attention": "paper"}, {"disparity_attention": "checkout"}]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("F.scaled_dot_product_attention", "for_a_gpu_alone"),  # such as flash attention
        ("self.self_attn", "self.attn"),  # another commit's name
    ],
)
def test_an_attention_that_cannot_be_asked_leaves_the_axis_unsaid(tmp_path: Path, old: str, new: str) -> None:
    folder = copied(HERE, tmp_path / "FoundationStereo")
    code = folder / "core" / "submodule.py"
    assert old in code.read_text()
    code.write_text(code.read_text().replace(old, new) + FOR_A_GPU)
    assert network(checkout=folder).traits == {}


FOR_A_GPU = """

def for_a_gpu_alone(*_):
    raise RuntimeError("only half precision on a GPU")
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A part's weights, the authors' checkpoint and their cfg.yaml."""
    part, weights, config = (tmp_path / name for name in ("vit.pth", "model_best_bp2.pth", "cfg.yaml"))
    made = network(seed=3)
    torch.save(made.get_submodule("feature.dino.depth_anything").state_dict(), part)
    torch.save({"model": made.state_dict()}, weights)
    config.write_text("vit_size: vits\n")
    return {"model.parts.feature.dino.depth_anything": part, "weights": weights, "model.config": config}


@pytest.mark.parametrize("changed", ["model.parts.feature.dino.depth_anything", "weights", "model.config"])
def test_a_finished_stage_is_not_reused_when_a_file_behind_the_same_path_changed(
    engine: Command, tmp_path: Path, files: dict[str, Path], changed: str
) -> None:
    part, weights, config = files.values()
    given = sets(
        f'model.parts={{"feature.dino.depth_anything"="{part}"}}', f"model.weights={weights}", f"model.config={config}"
    )
    run_of(engine, tmp_path, *given, steps=1)

    def planned() -> str:
        done = engine("plan", tmp_path / "foundation_stereo.toml", *tiny(1, train__ema=0.5), *given, "--json")
        assert done.code == 0, done.err
        (stage,) = json.loads(done.out)["stages"]
        return "" if stage["reused_from"] else stage["reason"]

    assert planned() == ""
    other = network(seed=4)
    if changed == "weights":
        torch.save({"model": other.state_dict()}, weights)
    elif changed == "model.config":
        config.write_text("vit_size: vits\nnotes: another\n")
    else:
        torch.save(other.get_submodule("feature.dino.depth_anything").state_dict(), part)
    expected = "the weights that [model] starts from" if changed == "weights" else f"the file {changed}"
    assert planned() == f"{expected} changed"

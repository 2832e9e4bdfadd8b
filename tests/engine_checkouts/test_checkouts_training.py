"""The recipes for a network from a checkout, run on stand-ins for it and on the embedded scenes."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from checkout_world import FOLDERS, network, one_stage, options, slanted_pair, tiny, trainable
from conftest import Command, events_of, only_run, weights_of
from engine_checkouts.arguments import arguments, read_config
from engine_checkouts.preset import Preset
from engine_checkouts.presets import PRESETS
from engine_checkouts.ship import ship
from engine_stereo.options import EdgeOptions, InitialOptions, PhotometricOptions, SequenceOptions, SmoothnessOptions
from engine_stereo.photometric import Edges, Photometric, Smoothness
from engine_stereo.sequence import Initial, Sequence

from engine.prediction import Batch, Prediction

RECIPES = Path(__file__).parents[2] / "recipes"
PRESET_OF = {
    "foundation_stereo": "foundation_stereo",
    "foundation_stereo_finetune": "foundation_stereo",
    "foundation_stereo_pol": "foundation_stereo",
    "foundation_stereo_tiny": "foundation_stereo",
    "raft_stereo_pol": "raft_stereo",
    "raft_stereo_tiny": "raft_stereo",
}
SCENES = {"count": "2", "height": "64", "width": "96"}
TINY = {
    "train.batch_size": "2",
    "train.log_every": "1",
    "evaluate.batch_size": "2",
    "model.train_iters": "3",
    "model.valid_iters": "3",
    **{f"data.{split}.{key}": value for split in ("train", "val") for key, value in SCENES.items()},
    "data.train.crop": "[64, 96]",
    "stage.A.steps": "2",
    "stage.B.batch_size": "2",
    "stage.B.steps": "2",
    "stage.C.steps": "2",
    # two scenes are too few for a verdict
    "stage.B.gate.feasibility.accept": '["warn", "undetermined"]',
}


def sets(**more: object) -> list[str]:
    values = TINY | {key.replace("__", "."): str(value) for key, value in more.items()}
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint in the authors' layout, with what else theirs hold."""
    path = tmp_path / "model_best_bp2.pth"
    state = network(seed=5).state_dict()
    torch.save({"model": state, "global_step": 7, "epoch": 1, "optimizer": {"state": {}}}, path)
    return path


def check_shipped(path: Path, trained: dict[str, torch.Tensor]) -> None:
    """The file is one that the authors' class reads, and cfg.yaml beside it makes the same network."""
    assert path.name == "model_best_bp2.pth"
    content = torch.load(path, weights_only=True)
    assert (content["global_step"], content["disparity_attention"]) == (2, "paper")
    authors = network(seed=9)._network
    authors.load_state_dict(content["model"], strict=True)
    assert torch.equal(authors.update_block.fine.weight, trained["base.update_block.fine.weight"])
    config = path.with_name("cfg.yaml")
    assert read_config(config)["train_iters"] == 3
    again = arguments(PRESETS["foundation_stereo"], options(config=config, vit_size=None, max_disp=None))
    assert (again.vit_size, again.max_disp) == ("vits", 64)


@pytest.mark.parametrize(("name", "preset"), PRESET_OF.items())
def test_the_recipes_are_right_with_a_checkout_and_told_to_be_unseen_without(
    engine: Command, tmp_path: Path, name: str, preset: str
) -> None:
    recipe = RECIPES / f"{name}.toml"
    checked = engine("check", recipe, "--set", f"model.checkout={FOLDERS[preset]}")
    assert checked.code == 0, checked.err
    assert "globs" not in checked.out
    unseen = engine("check", recipe, "--set", f"model.checkout={tmp_path / 'absent'}")
    assert unseen.code == 0, unseen.err
    assert f"its globs were not looked at: there is no checkout of {PRESETS[preset].network}" in unseen.out
    mistaken = engine("check", recipe, "--set", f"model.checkout={tmp_path / 'absent'}", "--set", "model.max_disp=100")
    assert mistaken.code == 2
    assert "'max_disp' is 100" in mistaken.err


def test_three_stages_train_on_a_foundation_stereo_base_that_resumes_and_is_shipped(
    engine: Command, tmp_path: Path, weights: Path
) -> None:
    recipe, checkout = RECIPES / "foundation_stereo_pol.toml", FOLDERS["foundation_stereo"]
    given = sets(model__checkout=checkout, model__weights=weights, model__disparity_attention="paper")
    done = engine("run", recipe, *given, "--runs", "whole")
    assert done.code == 0, done.err
    (run,) = (tmp_path / "whole" / "foundation_stereo_pol").iterdir()
    a, b, c = (weights_of(run, stage) for stage in "ABC")
    started = torch.load(weights, weights_only=True)["model"]
    assert torch.equal(
        a["base.feature.dino.depth_anything.patches.weight"], started["feature.dino.depth_anything.patches.weight"]
    )
    assert not torch.equal(a["base.update_block.fine.weight"], started["update_block.fine.weight"])
    assert torch.equal(a["base.update_block.fine.weight"], b["base.update_block.fine.weight"])
    assert not torch.equal(b["injection.head.weight"], c["injection.head.weight"])
    assert "weights" in done.out
    assert "FoundationStereo was tried here with 6e8806816b53" in done.out
    model = json.loads((run / "recipe.json").read_text())["model"]
    assert (model["disparity_attention"], model["sources"]) == ("paper", options().sources)
    done = engine("ship", run, "shipped")
    assert (done.code, done.out) == (0, "shipped/model_best_bp2.pth\n"), done.err
    check_shipped(tmp_path / "shipped" / "model_best_bp2.pth", c)

    twin = tmp_path / "twin" / "foundation_stereo_pol" / run.name
    shutil.copytree(run, twin)
    shutil.rmtree(twin / "stage-C")
    (twin / "status.json").unlink()
    (twin / "stage-B" / "record.json").unlink()
    (twin / "stage-B" / "weights.safetensors").unlink()
    resumed = engine("run", recipe, *given, "--runs", "twin", "--resume")
    assert resumed.code == 0, resumed.err
    assert all(torch.equal(tensor, c[name]) for name, tensor in weights_of(twin, "C").items())


def test_the_three_stages_train_on_a_raft_stereo_base(engine: Command, tmp_path: Path) -> None:
    done = engine("run", RECIPES / "raft_stereo_pol.toml", *sets(model__checkout=FOLDERS["raft_stereo"]))
    assert done.code == 0, done.err
    run = only_run(tmp_path, "raft_stereo_pol")
    assert [event["stage"] for event in events_of(run, "step")] == ["A", "A", "B", "B", "C", "C"]


# Each process notes what its weights are before each step.
NOTES = """
import gc, hashlib, os
from pathlib import Path
from engine.hookspecs import hookimpl
from engine.system import System
from engine_stereo.options import SequenceOptions
from engine_stereo.sequence import Sequence

class Noting(Sequence):
    def __call__(self, prediction, batch):
        if prediction.value.requires_grad and "RANK" in os.environ:
            (system,) = [each for each in gc.get_objects() if type(each) is System]
            tensors = (each.numpy().tobytes() for each in system.state_dict().values())
            with Path(f"weights-{os.environ['RANK']}").open("a") as file:
                print(hashlib.sha256(b"".join(tensors)).hexdigest(), file=file)
        return super().__call__(prediction, batch)

@hookimpl
def engine_losses(register):
    register("noting", SequenceOptions, Noting)
"""


def test_two_processes_learn_what_one_learns(two: Command, engine: Command, tmp_path: Path) -> None:
    # Dropout, of the attention alone, draws other numbers in each process. A bias before an instance normalisation has
    # no effect: its gradient is rounding, of which the optimiser makes whole steps.
    rests = ["base.cost_agg.atts.**", "base.feature.stem.0.bias", "base.feature.stages.*.0.bias"]
    path = one_stage(tmp_path, "foundation_stereo", FOLDERS["foundation_stereo"], rests)
    (tmp_path / "notes.py").write_text(NOTES)
    path.write_text('plugins = ["notes.py"]\n' + path.read_text().replace('"sequence"', '"noting"'))
    both = two("run", path, *tiny(6, train__batch_size=1), "--runs", "two")
    assert both.code == 0, both.err
    first, second = ((tmp_path / f"weights-{rank}").read_text().split() for rank in "01")
    assert first == second, "after each step both have the same weights, to the bit"
    assert len(set(first)) == 6
    assert engine("run", path, *tiny(6), "--runs", "one").code == 0
    (shared,), (alone,) = ((tmp_path / runs / "foundation_stereo").iterdir() for runs in ("two", "one"))
    losses = [[event["loss"] for event in events_of(run, "step")] for run in (shared, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    one, other = (weights_of(run, "train") for run in (shared, alone))
    apart = {name: (one[name] - other[name]).abs().max().item() for name in one}
    assert max(apart.values()) < 1e-5, {name: size for name, size in apart.items() if size >= 1e-5}


def test_a_random_backbone_stops_the_run_before_anything_is_trained(engine: Command, tmp_path: Path) -> None:
    recipe = tmp_path / "random.toml"
    recipe.write_text(
        f"""
extends = "{RECIPES / "s2m2_pol.toml"}"
name = "random"
[model]
plugin = "checkout"
preset = "foundation_stereo"
checkout = "{FOLDERS["foundation_stereo"]}"
vit_size = "vits"
max_disp = 64
"""
    )
    refused = engine("run", recipe, *sets())
    assert refused.code == 2
    assert "'feature.dino', the frozen backbone of FoundationStereo, holds the random numbers" in refused.err
    assert "allow_random_backbone" in refused.err


def test_what_is_no_finished_run_of_a_checkout_ships_nothing(engine: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    nothing = engine("ship", run, "shipped")
    (run / "recipe.json").write_text(json.dumps({"model": {"plugin": "s2m2"}, "stage": []}))
    begun = engine("ship", run, "shipped")
    (run / "status.json").write_text(json.dumps({"rows": [{"stage": "A"}]}))
    other = engine("ship", run, "shipped")
    assert [each.code for each in (nothing, begun, other)] == [2, 2, 2]
    assert "is no directory of a run" in nothing.err
    assert "has finished yet" in begun.err
    assert "the run's model is 's2m2'; expected 'checkout'" in other.err
    assert not (tmp_path / "shipped").exists()


def with_truth(answer: Prediction, batch: Batch) -> torch.Tensor:
    return Sequence(SequenceOptions(gamma=1.0))(answer, batch) + Initial(InitialOptions(at="full"))(answer, batch)


def without_truth(answer: Prediction, batch: Batch) -> torch.Tensor:
    first = F.interpolate(answer.features["initial"], scale_factor=4, mode="bilinear")
    estimates = [Prediction(each) for each in (first, *answer.intermediates, answer.value)]
    alike, smooth = Photometric(PhotometricOptions()), Smoothness(SmoothnessOptions())
    return sum(alike(each, batch) + 0.02 * smooth(each, batch) for each in estimates)


@pytest.mark.parametrize("loss", [with_truth, without_truth])
def test_a_fixed_pair_is_learnt_with_its_truth_and_without(loss: Callable[[Prediction, Batch], torch.Tensor]) -> None:
    made, batch = trainable(network(freeze_bn=False, max_disp=32)), slanted_pair(32, 64)
    optimizer = torch.optim.AdamW([each for each in made.parameters() if each.requires_grad], lr=2e-3)
    torch.manual_seed(0)
    errors = []
    for _ in range(30):
        answer = made(batch)
        errors.append((answer.value - batch["disparity"]).abs()[batch["valid"]].mean().item())
        optimizer.zero_grad()
        loss(answer, batch).backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
    assert sum(errors[-5:]) / 5 < min(1.5, errors[0] / 4), errors


def test_the_loss_of_edges_alone_learns_the_edges() -> None:
    made, batch, edges = trainable(network(freeze_bn=False, max_disp=32)), slanted_pair(32, 64), Edges(EdgeOptions())
    optimizer = torch.optim.AdamW([each for each in made.parameters() if each.requires_grad], lr=2e-3)
    torch.manual_seed(0)
    losses = []
    for _ in range(30):
        answer = made(batch)
        estimates = [*answer.intermediates, answer.value]
        first = F.interpolate(answer.features["initial"], scale_factor=4, mode="bilinear")
        loss = sum(edges(Prediction(each), batch) for each in (first, *estimates))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
    assert sum(losses[-5:]) / 5 < losses[0] / 2, losses


def test_the_two_commands_of_the_guide_run_with_a_small_data_set(engine: Command, tmp_path: Path) -> None:
    shutil.copytree(RECIPES, tmp_path / "recipes")
    guide = (RECIPES.parent / "docs" / "foundation_stereo.md").read_text()
    whole = guide.replace("\\\n", " ").splitlines()
    lines = [line for line in whole if line.startswith("engine run recipes/foundation_stereo_tiny.toml")]
    plain, long = (shlex.split(line)[1:] for line in lines)
    small = [word for pair in SHORT.items() for word in ("--set", f"{pair[0]}={pair[1]}")]
    for words, more in ((plain, []), (long, ["--set", "train.precision=fp32"])):
        words = [word.replace("../FoundationStereo", str(FOLDERS["foundation_stereo"])) for word in words]
        done = engine(*words, *small, *more)
        assert done.code == 0, done.err
    refused = engine(*words, *small)
    assert refused.code == 2
    assert "in half precision ends the process on a CPU" in refused.err
    assert (tmp_path / "mlruns").is_dir()


SHORT = {
    "stage.train.steps": 2,
    "data.train.count": 2,
    "data.val.count": 1,
    "model.train_iters": 2,
    "model.valid_iters": 2,
}


IGEV = """
import torch
from torch import nn


class IGEVStereo(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args, self.scale = args, nn.Parameter(torch.ones(()))
        self.conv = nn.Conv2d(6, 1, 3, padding=1)
        self.cost_agg = nn.ModuleDict({"conv1_up": nn.ModuleDict({"bn": nn.BatchNorm3d(8)})})  # never called

    def forward(self, image1, image2, iters, test_mode):
        full = self.args.max_disp * torch.sigmoid(self.scale * self.conv(torch.cat([image1, image2], 1) / 255))
        return full if test_mode else (full, [full] * iters)
"""


def test_the_network_that_the_guide_adds_is_trained(engine: Command, tmp_path: Path) -> None:
    (tmp_path / "IGEV-Stereo" / "core").mkdir(parents=True)
    (tmp_path / "IGEV-Stereo" / "core" / "igev_stereo.py").write_text(IGEV)
    guide = (Path(__file__).parents[2] / "docs" / "foundation_stereo.md").read_text()
    (tmp_path / "igev.py").write_text(guide.split("```python\n")[1].split("```")[0])
    recipe = tmp_path / "igev.toml"
    recipe.write_text(
        f"""
extends = "{RECIPES / "s2m2_pol.toml"}"
name = "igev"
plugins = ["igev.py"]
model = {{ plugin = "igev", checkout = "IGEV-Stereo", max_disp = 64 }}
train = {{ losses = [{{ name = "sequence" }}, {{ name = "initial_disparity", at = "full" }}] }}
[[stage]]
name = "A"
frozen = ["base.cost_agg.conv1_up.bn.**"]
[[stage]]
name = "C"
frozen = ["base.cost_agg.conv1_up.bn.**"]
losses = [{{ name = "disparity_smooth_l1" }}, {{ name = "sequence" }}]
"""
    )
    done = engine("run", recipe, *sets())
    assert done.code == 0, done.err
    shipped = ship(only_run(tmp_path, "igev"), tmp_path / "shipped", preset_of(tmp_path / "igev.py"))
    assert set(torch.load(shipped, weights_only=True)) > {"scale", "conv.weight", "conv.bias"}


def preset_of(file: Path) -> Preset:
    """What the guide's file calls IGEV."""
    names: dict[str, Preset] = {}
    exec(file.read_text(), names)
    return names["IGEV"]

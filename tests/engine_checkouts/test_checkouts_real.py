"""The authors' own checkouts, in the folder that the environment variable ENGINE_CHECKOUTS names.

It holds FoundationStereo, RAFT-Stereo and IGEV, as git clones them. No published weights are needed: what is random
here is so on purpose. Takes some minutes and 4 GB.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from checkout_world import one_stage, slanted_pair, tiny, trainable
from conftest import Command, events_of, weights_of
from engine_checkouts.network import Checkout, built
from engine_checkouts.options import CheckoutOptions, NetworkOptions
from engine_checkouts.presets import PRESETS
from engine_checkouts.safeguards import attends_across_slots
from engine_checkouts.ship import ship
from engine_deploy.export import export
from packaging.version import Version

from engine.system import System

ROOT = Path(os.environ["ENGINE_CHECKOUTS"])
FOLDERS = {"foundation_stereo": ROOT / "FoundationStereo", "raft_stereo": ROOT / "RAFT-Stereo"}
GUIDE = Path(__file__).parents[2] / "docs" / "foundation_stereo.md"
RECIPES = Path(__file__).parents[2] / "recipes"
SMALL: dict[str, dict[str, Any]] = {
    "foundation_stereo": {"vit_size": "vits", "max_disp": 64, "allow_random_backbone": True},
    "raft_stereo": {},
}
# The authors' code speaks to torch as it was when they wrote it.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def network(preset: str = "foundation_stereo", **more: Any) -> Checkout:
    torch.manual_seed(0)
    settings = {"checkout": FOLDERS[preset], "train_iters": 4, "valid_iters": 4, **SMALL[preset], **more}
    return built(PRESETS[preset], CheckoutOptions(preset=preset, **settings)).eval()


def loss_of(answer: Any, batch: dict[str, Any]) -> torch.Tensor:
    estimates = [*answer.intermediates, answer.value]
    return sum(((each - batch["disparity"]).abs() * batch["valid"]).sum() for each in estimates) / batch["valid"].sum()


def epe(answer: Any, batch: dict[str, Any]) -> float:
    return (answer.value - batch["disparity"]).abs()[batch["valid"]].mean().item()


def test_the_largest_is_built_offline_in_seconds_and_has_the_published_number_of_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    began, cpu = time.perf_counter(), time.process_time()
    made = network(vit_size="vitl", max_disp=416)
    took, worked = time.perf_counter() - began, time.process_time() - cpu
    print(f"ViT-L built in {took:.1f} s, of which this process worked {worked:.1f} s")
    assert worked < 10
    total = sum(each.numel() for each in made.parameters())
    learns = sum(each.numel() for each in made.parameters() if each.requires_grad)
    assert (total, learns) == (374_517_067, 39_201_418)
    assert len(made.state_dict()) == 1360
    after = sum(each.numel() for each in trainable(made).parameters() if each.requires_grad)
    assert after == 37_575_562
    with torch.no_grad():
        assert made.eval()(slanted_pair()).value.shape == (1, 1, 64, 96)


def test_the_plan_prints_the_table_of_the_largest(engine: Command, tmp_path: Path) -> None:
    path = one_stage(tmp_path, "foundation_stereo", FOLDERS["foundation_stereo"])
    planned = engine("plan", path, "--set", "model.vit_size=vitl", "--set", "model.max_disp=416")
    assert planned.code == 0, planned.err
    rows = {row[0]: row[1:] for line in planned.out.splitlines() if len(row := line.split()) == 3}
    assert rows["base"] == ["374,517,067", "37,575,562"]
    assert rows["dino"] == ["335,315,649", "frozen"]


@pytest.mark.parametrize(
    ("size", "total", "learns"), [("vits", 62_335_403, 37_550_314), ("vitb", 135_478_283, 38_007_498)]
)
def test_the_smaller_ones_have_their_numbers_of_parameters_and_answer(size: str, total: int, learns: int) -> None:
    made = network(vit_size=size)
    assert sum(each.numel() for each in made.parameters()) == total
    assert sum(each.numel() for each in made.parameters() if each.requires_grad) == learns
    with torch.no_grad():
        assert made(slanted_pair()).value.shape == (1, 1, 64, 96)


@pytest.mark.parametrize("preset", list(FOLDERS))
def test_exactly_what_the_preset_calls_idle_gets_no_gradient(preset: str) -> None:
    made = network(preset, freeze_bn=False).train()
    batch = slanted_pair()
    trained = trainable(made)
    answer = trained(batch)
    total = loss_of(answer, batch)
    if "initial" in answer.features:
        total = total + answer.features["initial"].mean()
    total.backward()
    without = {name for name, each in made.named_parameters() if each.grad is None}
    frozen = {name for name, each in made.named_parameters() if not each.requires_grad}
    assert without == frozen


def test_both_learn_in_one_process_and_neither_leaves_anything_behind() -> None:
    import logging
    import sys

    before = (list(sys.path), list(logging.getLogger().handlers), logging.getLogger().level)
    batch = slanted_pair()
    both = [trainable(network(preset)) for preset in FOLDERS]
    for made in both:
        loss_of(made(batch), batch).backward()
    assert before == (list(sys.path), list(logging.getLogger().handlers), logging.getLogger().level)
    assert not {"core", "Utils", "depth_anything", "dinov2"} & {name.partition(".")[0] for name in sys.modules}


def test_attention_runs_along_disparity_where_the_recipe_says_so() -> None:
    attention = PRESETS["foundation_stereo"].attention
    assert attention is not None
    made = {axis: network(disparity_attention=axis) for axis in ("checkout", "paper")}
    found = {axis: attends_across_slots(each.get_submodule(attention.probe), 28) for axis, each in made.items()}
    assert found == {"checkout": False, "paper": True}


@pytest.mark.parametrize("preset", list(FOLDERS))
def test_recomputed_segments_give_the_gradient_of_the_plain_network(preset: str) -> None:
    batch = slanted_pair()
    gradients = []
    for segments in ([], list(PRESETS[preset].segments)):
        made = trainable(network(preset, checkpoint_segments=segments, freeze_bn=False))
        torch.manual_seed(1)
        loss_of(made(batch), batch).backward()
        gradients.append({name: each.grad for name, each in made.named_parameters() if each.grad is not None})
    plain, spared = gradients
    assert plain.keys() == spared.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(spared[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def kept(made: Checkout, batch: dict[str, Any]) -> float:
    """MiB of activations that a forward pass keeps for the backward pass."""
    own = {each.untyped_storage().data_ptr() for each in made.parameters()}
    found: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        answer = made(batch)
        total = sum(found.values()) / 2**20
    del answer
    return total


def test_recomputed_segments_keep_fewer_activations() -> None:
    batch, segments = slanted_pair(), ["update", "volume", "features"]
    ways = {"none": [], **{name: [name] for name in segments}, "all": segments}
    found = {
        way: kept(trainable(network(max_disp=192, train_iters=12, checkpoint_segments=chosen)), batch)
        for way, chosen in ways.items()
    }
    print(f"MiB of activations: { {way: round(size, 1) for way, size in found.items()} }")
    assert found["all"] < 0.5 * found["none"]


@pytest.mark.parametrize("preset", list(FOLDERS))
def test_half_precision_reaches_the_network_and_float32_its_surroundings(preset: str) -> None:
    made, batch = network(preset), slanted_pair()
    seen: set[torch.dtype] = set()
    made.get_submodule("update_block.encoder.convc1").register_forward_hook(lambda _, __, out: seen.add(out.dtype))
    with torch.no_grad():
        exact = made(batch).value
        assert seen == {torch.float32}
        with torch.autocast("cpu", torch.bfloat16):
            rounded = made(batch).value
    assert torch.bfloat16 in seen
    assert rounded.dtype == torch.float32
    print(f"{preset}: bf16 differs from fp32 by {(rounded - exact).abs().mean():.4f} px")


@pytest.mark.parametrize(("preset", "within"), [("foundation_stereo", 1.5), ("raft_stereo", 3.0)])
def test_thirty_steps_learn_a_fixed_pair(preset: str, within: float) -> None:
    made, batch = trainable(network(preset, freeze_bn=False)), slanted_pair()
    optimizer = torch.optim.AdamW([each for each in made.parameters() if each.requires_grad], lr=2e-4)
    torch.manual_seed(0)
    errors = []
    for _ in range(31):
        answer = made(batch)
        errors.append(epe(answer, batch))
        optimizer.zero_grad()
        total = loss_of(answer, batch)
        if "initial" in answer.features:
            first = torch.nn.functional.interpolate(answer.features["initial"], scale_factor=4, mode="nearest")
            total = total + (first - batch["disparity"]).abs()[batch["valid"]].mean() / 4
        total.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
    print(f"{preset}: EPE px after 0, 10, 20, 30 steps: {', '.join(f'{errors[step]:.2f}' for step in (0, 10, 20, 30))}")
    assert errors[30] < within
    assert sum(errors[-10:]) < sum(errors[:10])


@pytest.mark.parametrize("preset", list(FOLDERS))
@pytest.mark.parametrize("steps", [3, 10])
def test_a_run_on_one_pair_lowers_its_loss_and_keeps_its_last_step(
    engine: Command, tmp_path: Path, preset: str, steps: int
) -> None:
    one = {"data__train__count": 1, "train__batch_size": 1, "model__freeze_bn": False}
    done = engine("run", one_stage(tmp_path, preset, FOLDERS[preset]), *tiny(steps, train__ema=0.9, **one))
    assert done.code == 0, done.err
    (run,) = (tmp_path / "runs" / preset).iterdir()
    saved = [event["step"] for event in events_of(run, "checkpoint_saved")]
    losses = [event["loss"] for event in events_of(run, "step")]
    print(f"{preset}: {steps} steps, checkpoints {saved}, losses {[round(loss, 2) for loss in losses]}")
    assert saved[-1] == steps
    assert len(losses) == steps
    third = steps // 3
    assert sum(losses[-third:]) < sum(losses[:third])


@pytest.mark.parametrize("preset", list(FOLDERS))
def test_a_run_that_is_killed_goes_on_to_the_same_bits(engine: Command, tmp_path: Path, preset: str) -> None:
    path, given = one_stage(tmp_path, preset, FOLDERS[preset]), tiny(4, train__checkpoint_every=2, train__keep=4)
    assert engine("run", path, *given).code == 0
    (run,) = (tmp_path / "runs" / preset).iterdir()
    whole = weights_of(run, "train")
    stage = run / "stage-train"
    checkpoints = stage / "checkpoints"
    last = sorted(each for each in checkpoints.iterdir() if each.is_dir())[-1]
    shutil.rmtree(last)
    for name in ("latest", "best"):
        (checkpoints / name).unlink(missing_ok=True)
    for file in (run / "status.json", stage / "record.json", stage / "weights.safetensors"):
        file.unlink()
    resumed = engine("run", path, *given, "--resume")
    assert resumed.code == 0, resumed.err
    again = weights_of(run, "train")
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("preset", list(FOLDERS))
def test_what_was_trained_is_read_by_the_authors_own_class(engine: Command, tmp_path: Path, preset: str) -> None:
    assert engine("run", one_stage(tmp_path, preset, FOLDERS[preset]), *tiny(2)).code == 0
    (run,) = (tmp_path / "runs" / preset).iterdir()
    path = ship(run, tmp_path / "shipped")
    content = torch.load(path, weights_only=True)
    authors = network(preset)._network
    if preset == "raft_stereo":
        wrapped = torch.nn.DataParallel(authors)  # as their scripts read it
        assert wrapped.load_state_dict(content, strict=True)
    else:
        assert authors.load_state_dict(content["model"], strict=True)
        assert content["global_step"] == 2
    name = "update_block.encoder.convc1.weight"
    assert torch.equal(authors.state_dict()[name], weights_of(run, "train")[f"base.{name}"])


@pytest.mark.parametrize("preset", list(FOLDERS))
def test_an_onnx_file_answers_what_torch_answers(preset: str, tmp_path: Path) -> None:
    system = System(network(preset, valid_iters=2), None, "disparity").eval()
    about = export(system, [slanted_pair()], tmp_path / "net.onnx")
    print(f"{preset}: opset {about['opset']}, {about['iterations']} iterations, parity {about['parity']}")
    assert about["iterations"] == 2
    assert about["parity"]["max"]["value"] <= 1e-3


@pytest.mark.parametrize("preset", list(FOLDERS))
def test_three_stages_with_the_polarisation_correction(engine: Command, tmp_path: Path, preset: str) -> None:
    sets = [part for value in tiny(1)[1::2] if not value.startswith("stage.train") for part in ("--set", value)]
    for stage in "ABC":
        sets += ["--set", f"stage.{stage}.steps=2"]
    sets += ["--set", "stage.B.batch_size=2", "--set", 'stage.B.gate.feasibility.accept=["warn", "undetermined"]']
    sets += ["--set", f"model.checkout={FOLDERS[preset]}"]
    if preset == "foundation_stereo":
        weights = tmp_path / "random.pth"
        torch.save({"model": network().state_dict()}, weights)
        sets += ["--set", f"model.weights={weights}", "--set", "model.allow_random_backbone=true"]
    done = engine("run", RECIPES / f"{preset}_pol.toml", *sets)
    assert done.code == 0, done.err
    print(done.out[done.out.index("held-out data") :])


def test_igev_stereo_runs_from_the_lines_of_the_guide_with_the_timm_of_its_time() -> None:
    names: dict[str, Any] = {}
    exec(GUIDE.read_text().split("```python\n")[1].split("```")[0], names)
    torch.manual_seed(0)
    options = NetworkOptions(checkout=ROOT / "IGEV" / "IGEV-Stereo", max_disp=64, train_iters=3, valid_iters=3)
    if Version(version("timm")) >= Version("0.6"):
        with pytest.raises(AttributeError, match="act1"):
            built(names["IGEV"], options)
        return
    made, batch = trainable(built(names["IGEV"], options)), slanted_pair()
    answer = made(batch)
    assert answer.features["initial"].shape == answer.value.shape == (1, 1, 64, 96)
    (loss_of(answer, batch) + answer.features["initial"].mean()).backward()
    assert all(each.grad is not None for each in made.parameters() if each.requires_grad)
    with torch.no_grad():
        assert made.eval()(slanted_pair(60, 100)).value.shape == (1, 1, 60, 100)


def test_two_processes_learn_what_one_learns(two: Command, engine: Command, tmp_path: Path) -> None:
    path = one_stage(tmp_path, "foundation_stereo", FOLDERS["foundation_stereo"], ["base.cost_agg.atts.**"])
    both = two("run", path, *tiny(3, train__batch_size=1), "--runs", "two")
    assert both.code == 0, both.err
    assert engine("run", path, *tiny(3), "--runs", "one").code == 0
    (pair,), (alone,) = ((tmp_path / runs / "foundation_stereo").iterdir() for runs in ("two", "one"))
    losses = [[event["loss"] for event in events_of(run, "step")] for run in (pair, alone)]
    one, other = (weights_of(run, "train") for run in (pair, alone))
    apart = {name: (one[name] - other[name]).abs() for name in one if one[name].is_floating_point()}
    near = sum(int((each < 1e-5).sum()) for each in apart.values()) / sum(each.numel() for each in apart.values())
    far = sorted(((each.max().item(), name) for name, each in apart.items()), reverse=True)[:3]
    print(f"losses of two processes {losses[0]}, of one {losses[1]}; {near:.4%} of weights within 1e-5, farthest {far}")
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    # What has no effect, as a bias before an instance normalisation, has rounding for a gradient, and AdamW takes it.
    assert near > 0.99

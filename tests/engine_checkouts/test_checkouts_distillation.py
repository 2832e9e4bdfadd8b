"""A student learns what a teacher from another checkout says, where nobody knows the truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from checkout_world import FOLDERS, SMALL, network, one_stage, options, pair, tiny
from conftest import Command, events_of, only_run, weights_of
from engine_checkouts.distillation import Distillation
from engine_checkouts.options import DistillationOptions
from safetensors.torch import save_file

from engine.errors import InputError
from engine.prediction import Prediction


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A stage's own weights of a teacher, with what else such a file holds."""
    state = {f"base.{name}": tensor.clone() for name, tensor in network(seed=7).state_dict().items()}
    path = tmp_path / "weights.safetensors"
    save_file({**state, "injection.head.weight": torch.zeros(3)}, path, {"disparity_attention": "checkout"})
    return path


def test_it_is_the_mean_distance_from_the_teachers_answer_where_that_lies_in_the_right_view(weights: Path) -> None:
    batch = pair()
    del batch["disparity"], batch["valid"]  # a student needs neither
    with torch.no_grad():
        answer = network(seed=7)(batch).value
    inside = torch.arange(96) - answer
    counted = (inside >= 0) & (inside <= 95)
    assert 0 < counted.float().mean() < 1
    loss = Distillation(DistillationOptions(teacher=options(), weights=weights))
    student = torch.full_like(answer, 3.0).requires_grad_()
    found = loss(Prediction(student), batch)
    assert found.item() == pytest.approx((3 - answer).abs()[counted].mean().item(), rel=1e-5)
    found.backward()
    assert student.grad is not None
    assert torch.equal(student.grad != 0, counted)
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in loss.teacher.parameters())
    assert loss(Prediction(answer), batch).item() == 0


def test_weights_of_another_network_or_of_another_axis_are_refused(tmp_path: Path, weights: Path) -> None:
    other = tmp_path / "raft.pth"
    torch.save({f"module.{name}": each for name, each in network("raft_stereo").state_dict().items()}, other)
    with pytest.raises(InputError, match="does not hold the teacher FoundationStereo"):
        Distillation(DistillationOptions(teacher=options(), weights=other))
    assert Distillation(DistillationOptions(teacher=options("raft_stereo"), weights=other))
    with pytest.raises(InputError, match="was trained with disparity_attention = 'checkout'"):
        Distillation(DistillationOptions(teacher=options(disparity_attention="paper"), weights=weights))
    shipped = tmp_path / "model_best_bp2.pth"  # as `engine ship` writes it
    torch.save({"model": network(seed=7).state_dict(), "global_step": 2, "disparity_attention": "paper"}, shipped)
    with pytest.raises(InputError, match="was trained with disparity_attention = 'paper', and the teacher has 'check"):
        Distillation(DistillationOptions(teacher=options(), weights=shipped))
    assert Distillation(DistillationOptions(teacher=options(disparity_attention="paper"), weights=shipped))


def test_a_raft_stereo_learns_from_a_foundation_stereo_in_a_recipe(
    engine: Command, tmp_path: Path, weights: Path
) -> None:
    recipe = one_stage(tmp_path, "raft_stereo", FOLDERS["raft_stereo"])
    teacher = {"preset": "foundation_stereo", "checkout": str(FOLDERS["foundation_stereo"]), "valid_iters": 2}
    table = {**SMALL["foundation_stereo"], **teacher}
    inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
    text = recipe.read_text().replace(
        'losses = [{ name = "sequence", average = "samples" }]',
        f'losses = [{{ name = "distillation", teacher = {{ {inline} }}, weights = "weights.safetensors" }}]',
    )
    recipe.write_text(text)
    done = engine("run", recipe, *tiny(6, train__optimizer__lr=0.003))
    assert done.code == 0, done.err
    run = only_run(tmp_path, "raft_stereo")
    losses = [event["loss"] for event in events_of(run, "step")]
    assert losses[-1] < losses[0]
    assert {name.partition(".")[0] for name in weights_of(run, "train")} == {"base"}
    weights.write_bytes(weights.read_bytes() + b" ")
    plan = engine("plan", recipe, *tiny(6, train__optimizer__lr=0.003))
    assert "the file losses.0.distillation.weights changed" in " ".join(plan.out.split())

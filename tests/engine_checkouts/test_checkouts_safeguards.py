"""What goes wrong silently in a bare checkout is refused, repaired or proved here."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkout_world import FOLDERS, copied, network, pair, trainable
from engine_checkouts.network import Checkout
from engine_checkouts.presets import PRESETS
from engine_checkouts.recomputing import recompute
from engine_checkouts.safeguards import attends_across_slots
from safetensors.torch import save_file

from engine.errors import InputError, WorldError

SEGMENTS = ["update", "volume", "features"]


def loss_of(checkout: Checkout, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    answer = checkout(batch)
    estimates = [answer.features["initial"], *answer.intermediates, answer.value]
    return sum((estimate - 8).abs().mean() for estimate in estimates)


def gradients(checkout: Checkout, seed: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)  # of dropout
    loss_of(checkout, pair(size=2)).backward()
    return {name: each.grad for name, each in checkout.named_parameters() if each.grad is not None}


# -- The frozen backbone ----------------------------------------------------------------------------------------------


def test_a_frozen_backbone_of_random_numbers_is_refused_until_weights_are_loaded() -> None:
    made = network(allow_random_backbone=False)
    with pytest.raises(InputError, match=r"'feature.dino', the frozen backbone of FoundationStereo, holds the random"):
        made(pair())
    made.load_state_dict(network(seed=1).state_dict())
    assert made(pair()).value.shape == (1, 1, 64, 96)


def test_weights_of_the_backbone_alone_are_enough(tmp_path: Path) -> None:
    other = network(seed=1).state_dict()
    prefix = "feature.dino.depth_anything."
    part = {name.removeprefix(prefix): tensor for name, tensor in other.items() if name.startswith(prefix)}
    file = tmp_path / "backbone.safetensors"
    save_file({**part, "classifier.weight": torch.ones(1)}, file)
    made = network(allow_random_backbone=False, parts={prefix[:-1]: file})
    made(pair())
    assert torch.equal(made.get_parameter(f"{prefix}patches.weight"), other[f"{prefix}patches.weight"])
    told = [note for note in made.notes if "part" in note.text]
    assert [(note.level, note.details["unexpected"]) for note in told] == [("warning", ["classifier.weight"])]


def test_weights_of_a_part_fit_as_a_whole_or_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "part.safetensors"
    save_file({"conv1.weight": torch.ones(2, 2)}, file)
    with pytest.raises(InputError, match=r"missing: conv1.bias; wrong shape: conv1.weight"):
        network(parts={"cnet": file})
    with pytest.raises(InputError, match=r"names 'cnat', which the network has not. Did you mean 'cnet'"):
        network(parts={"cnat": file})
    file.write_bytes(b"not a file of tensors")
    with pytest.raises(WorldError, match="is damaged"):
        network(parts={"cnet": file})


@pytest.mark.parametrize(
    "content", [b"hello", b"\x80\x02garbage", b"PK\x03\x04", b"", b"\x80\x02X\x01\x00\x00\x00\xff.", b"\x80\x02}q\x00."]
)
def test_a_damaged_torch_file_is_told_so_and_nobody_is_advised_to_run_its_code(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "part.pth"
    file.write_bytes(content)
    with pytest.raises((InputError, WorldError), match=r"part\.pth (is damaged|is not a torch|holds more) ") as told:
        network(parts={"cnet": file})
    assert "weights_only" not in str(told.value)
    torch.save({0: torch.ones(1)}, file)
    with pytest.raises(InputError, match=r"part\.pth holds no mapping of tensors"):
        network(parts={"cnet": file})


# -- Attention ---------------------------------------------------------------------------------------------------------


def test_attention_runs_along_disparity_where_the_recipe_says_so() -> None:
    probe = "cost_agg.atts.4.sa.0.self_attn"
    as_it_is, as_written = network(), network(disparity_attention="paper")
    assert not attends_across_slots(as_it_is.get_submodule(probe), 28)
    assert attends_across_slots(as_written.get_submodule(probe), 28)
    assert not torch.equal(as_it_is(pair()).value, as_written(pair()).value), "the axis makes no difference"
    assert any("along disparity, not as the checkout has it" in note.text for note in as_written.notes)


def test_dropout_is_not_taken_for_attention() -> None:
    class Alone(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return self.dropout(value)

    alone = Alone()
    assert not attends_across_slots(alone, 8)
    assert alone.dropout.training


def test_a_checkout_that_has_the_right_axis_is_left_alone(tmp_path: Path) -> None:
    folder = copied(FOLDERS["foundation_stereo"], tmp_path / "FoundationStereo")
    code = folder / "core" / "submodule.py"
    call = "F.scaled_dot_product_attention(*split.unbind(2))"
    assert call in code.read_text()
    right = "F.scaled_dot_product_attention(*split.transpose(1, 3).unbind(2)).transpose(1, 2)"
    code.write_text(code.read_text().replace(call, right))
    mended = network(checkout=folder, disparity_attention="paper")
    assert any("along disparity, as the checkout has it" in note.text for note in mended.notes)
    assert torch.equal(mended(pair()).value, network(disparity_attention="paper")(pair()).value)


# -- Precision ---------------------------------------------------------------------------------------------------------


def test_the_network_computes_in_the_engines_precision_and_only_in_the_authors_regions() -> None:
    made = network()
    seen: dict[str, torch.dtype] = {}
    for name in ("feature.conv4", "update_block.fine"):
        made.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.dtype}))
    exact = made(pair())
    assert set(seen.values()) == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made(pair())
        outside = torch.ones(2, 2) @ torch.ones(2, 2)
    assert set(seen.values()) == {torch.bfloat16}
    assert outside.dtype == torch.bfloat16, "the engine's own precision was switched off"
    assert rounded.value.dtype == torch.float32
    assert 0 < (rounded.value - exact.value).abs().mean() < 1


def test_half_precision_on_a_cpu_is_refused_where_it_ends_the_process() -> None:
    made = trainable(network())
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(InputError, match="ends the process on a CPU"):
        made(pair())
    other = trainable(network(changed={"cpu_bf16": True}))
    with torch.autocast("cpu", torch.bfloat16):
        loss_of(other, pair()).backward()


# -- Recomputing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segments", "precision"), [*(([each], None) for each in SEGMENTS), (SEGMENTS, None), (SEGMENTS, torch.bfloat16)]
)
def test_recomputed_segments_give_the_gradient_of_the_plain_network(
    segments: list[str], precision: torch.dtype | None
) -> None:
    changed = {"cpu_bf16": True}
    plain = trainable(network(changed=changed, freeze_bn=False))
    spared = trainable(network(changed=changed, freeze_bn=False, checkpoint_segments=segments))
    with torch.autocast("cpu", precision, enabled=precision is not None):
        expected, found = gradients(plain), gradients(spared)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name
    for (name, buffer), (_, other) in zip(plain.named_buffers(), spared.named_buffers(), strict=True):
        assert torch.equal(buffer, other), f"{name} saw a batch twice"


class Changing(torch.nn.Module):
    """It changes in place a list that it is given by name, as authors' code does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, image: torch.Tensor, states: list[torch.Tensor]) -> torch.Tensor:
        states[0] = states[0] * self.weight
        return image * states[0]


def test_lists_that_are_given_by_name_and_changed_in_place_give_the_same_gradient() -> None:
    def gradient(segments: list[str]) -> torch.Tensor | None:
        network = torch.nn.Module()
        network.part = Changing()
        recompute(network, replace(PRESETS["raft_stereo"], segments={"part": ["part"]}), segments)
        network.part(torch.tensor(3.0, requires_grad=True), states=[torch.tensor(1.0)]).backward()
        return network.part.weight.grad

    assert gradient(["part"]) == gradient([]) == 3


def test_recomputing_changes_no_statistics_in_place() -> None:
    # Some networks' backward pass still needs them, and torch then refuses to go on.
    made = trainable(network(freeze_bn=False, checkpoint_segments=SEGMENTS))
    loss = loss_of(made, pair())
    versions = {name: buffer._version for name, buffer in made.named_buffers()}
    loss.backward()
    assert {name: buffer._version for name, buffer in made.named_buffers()} == versions


def test_recomputed_segments_keep_fewer_activations() -> None:
    def kept(segments: list[str]) -> int:
        total = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss_of(trainable(network(checkpoint_segments=segments)), pair())
        return total

    assert kept(SEGMENTS) < 0.6 * kept([])


def test_a_segment_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match=r"has no segment 'volumes'; expected one of update, .*'volume'"):
        network(checkpoint_segments=["volumes"])


def test_a_copy_runs_its_own_weights_and_its_own_precision() -> None:
    made = network(checkpoint_segments=SEGMENTS)
    twin = copy.deepcopy(made)
    before = made(pair()).value
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(0.9)
    assert torch.equal(made(pair()).value, before)
    other = twin(pair()).value
    assert not torch.equal(other, before)
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(twin(pair()).value, other), "the copy does not hear of the engine's precision"
    assert twin.get_submodule("update_block") is twin._network.update_block


# -- What never trains, and statistics of batches ----------------------------------------------------------------------


def test_what_no_gradient_reaches_is_refused_with_the_line_that_freezes_it() -> None:
    made = network().train()
    made.requires_grad_(True)
    with pytest.raises(InputError) as refused:
        made(pair())
    told = f"{refused.value} {refused.value.advice}"
    assert 'frozen = ["base.feature.dino.**", "base.cnet.down.**"' in told
    assert set(gradients(trainable(made))) == {name for name, each in made.named_parameters() if each.requires_grad}


def test_frozen_batch_normalisation_keeps_its_statistics_and_learns_its_scale() -> None:
    made = trainable(network())
    before = {name: buffer.clone() for name, buffer in made.named_buffers()}
    assert "cnet.norm1.weight" in gradients(made)
    assert all(torch.equal(buffer, before[name]) for name, buffer in made.named_buffers())
    gradients(moving := trainable(network(freeze_bn=False)))
    assert not torch.equal(moving.get_buffer("cnet.norm1.running_mean"), before["cnet.norm1.running_mean"])


def test_the_names_are_those_of_the_authors_checkpoint() -> None:
    made = network()
    assert set(made.state_dict()) == set(made._network.state_dict())
    assert {name.partition(".")[0] for name, _ in made.named_modules() if name} >= {"feature", "cnet", "update_block"}

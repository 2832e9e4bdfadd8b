from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy_world import batch, system

from engine.errors import PluginError
from engine.globs import Selection, select
from engine.recipe.schema import Optimizer
from engine.stages import freeze
from engine.system import System
from engine.training.optimizer import build_optimizer


def frozen_base() -> tuple[System, Selection]:
    whole = system(norm=True, dropout=0.5)
    selection = select(whole, ["injection.**"], ["base.**"])
    freeze.apply(whole, selection)
    return whole, selection


def test_only_selected_parameters_require_gradients() -> None:
    whole, selection = frozen_base()
    assert {name for name, each in whole.named_parameters() if each.requires_grad} == selection.parameters


def test_norms_and_dropout_of_a_frozen_base_stay_in_evaluation_mode() -> None:
    whole, _ = frozen_base()
    assert whole.injection is not None
    assert whole.injection.training
    assert not any(module.training for module in whole.base.modules())


def test_a_frozen_norm_inside_a_training_base_stays_in_evaluation_mode() -> None:
    whole = system(norm=True, dropout=0.5)
    freeze.apply(whole, select(whole, ["base.**"], ["base.norm"]))
    modes = {name: module.training for name, module in whole.named_modules()}
    assert modes["base"]
    assert modes["base.dropout"]
    assert not modes["base.norm"]
    assert not modes["injection"]


def test_a_frozen_base_runs_without_a_graph() -> None:
    whole, _ = frozen_base()
    prediction = whole(batch())
    assert prediction.base is not None
    assert not prediction.base.value.requires_grad
    assert prediction.value.requires_grad


def test_frozen_parameters_are_absent_from_the_optimizer() -> None:
    whole, selection = frozen_base()
    optimizer = build_optimizer(whole, selection, Optimizer())
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(each) for name, each in whole.named_parameters() if name in selection.parameters}


def test_training_leaves_frozen_tensors_bit_identical() -> None:
    whole, selection = frozen_base()
    before = freeze.fingerprint(whole, selection)
    optimizer = build_optimizer(whole, selection, Optimizer(weight_decay=0.1))
    whole(batch()).value.square().mean().backward()
    optimizer.step()
    assert freeze.prove_unchanged(before, whole, selection, "B") == before.digest


def test_a_changed_parameter_and_a_changed_buffer_are_named() -> None:
    whole, selection = frozen_base()
    before = freeze.fingerprint(whole, selection)
    with torch.no_grad():
        whole.get_parameter("base.head.bias").add_(1e-7)
        whole.get_buffer("base.norm.num_batches_tracked").add_(1)
    with pytest.raises(
        PluginError, match=r"stage B: 2 frozen tensors changed.*: base.head.bias, base.norm.num_batches_tracked;"
    ):
        freeze.prove_unchanged(before, whole, selection, "B")


def test_a_frozen_tensor_that_appears_later_is_named() -> None:
    whole, selection = frozen_base()
    before = freeze.fingerprint(whole, selection)
    whole.base.register_buffer("late", torch.zeros(1))
    later = Selection(
        selection.parameters, selection.frozen_parameters, selection.frozen_buffers | {"base.late"}, selection.modules
    )
    with pytest.raises(PluginError, match=r"base\.late"):
        freeze.prove_unchanged(before, whole, later, "B")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(4, dtype=torch.float32), torch.zeros(4, dtype=torch.int32)),
        (torch.ones(1), torch.nextafter(torch.ones(1), torch.full((1,), 2.0))),
    ],
    ids=["minus zero", "shape", "dtype", "last bit"],
)
def test_fingerprints_tell_bits_shapes_and_types_apart(one: Tensor, other: Tensor) -> None:
    def digest(tensor: Tensor) -> str:
        module = nn.Module()
        module.register_buffer("held", tensor)
        nothing: frozenset[str] = frozenset()
        return freeze.fingerprint(module, Selection(nothing, nothing, frozenset({"held"}), nothing)).digest

    assert digest(one) != digest(other)
    assert digest(one) == digest(one.clone())

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from toy_world import batch, system

from engine.errors import DivergedError, InputError, PluginError
from engine.globs import Selection, select
from engine.prediction import Batch, Prediction
from engine.stages import freeze
from engine.stages.proof import prove_gradients, prove_identity
from engine.system import System, Warp


def prepared(trainable: str = "**", inject: bool = True, **base: object) -> tuple[System, Selection]:
    whole = system(**base)  # type: ignore[arg-type]  # the base's options, passed on
    selection = select(whole, [trainable], [])
    freeze.apply(whole, selection)
    return whole, selection


def loss_of(whole: System, inject: bool = True, factor: float = 1.0) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        made = batch()
        return factor * (whole(made, inject=inject).value - made["target"]).square().mean()

    return loss


def test_a_healthy_stage_lists_tensors_that_start_with_gradient_zero() -> None:
    whole, selection = prepared()
    with torch.no_grad():
        whole.get_parameter("base.head.weight").zero_()
    proof = prove_gradients(whole, selection, loss_of(whole))
    assert proof.zero == ["base.encoder.0.bias", "base.encoder.0.weight"]


def test_tensors_that_the_loss_does_not_reach_are_named_with_their_place() -> None:
    whole, selection = prepared()
    with pytest.raises(InputError) as error:
        prove_gradients(whole, selection, loss_of(whole, inject=False), "r.toml:9:3")
    (problem,) = error.value.problems
    assert problem.where == "r.toml:9:3"
    assert "2 trainable tensors receive no gradient" in problem.what
    assert "injection.head.bias, injection.head.weight" in problem.what


def test_a_frozen_tensor_that_receives_a_gradient_is_named() -> None:
    whole, selection = prepared("injection.**")
    whole.base_trains = True
    whole.get_parameter("base.head.bias").requires_grad_(True)
    with pytest.raises(PluginError, match=r"frozen tensors received a gradient: base\.head\.bias$"):
        prove_gradients(whole, selection, loss_of(whole))


def test_a_gradient_that_is_not_finite_is_named() -> None:
    whole, selection = prepared("base.head")
    with pytest.raises(DivergedError, match=r"not finite in base.head.bias, base.head.weight"):
        prove_gradients(whole, selection, loss_of(whole, factor=float("nan")))


def test_the_proof_leaves_no_trace() -> None:
    whole, selection = prepared(norm=True, dropout=0.5, writes_when_frozen=True)
    state = {name: value.clone() for name, value in whole.state_dict().items()}
    torch.manual_seed(3)
    random = torch.get_rng_state()
    prove_gradients(whole, selection, loss_of(whole))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())
    assert all(parameter.grad is None for parameter in whole.parameters())


def test_a_zero_initialised_injection_leaves_the_base_alone() -> None:
    whole = system(dropout=0.5)
    whole.train()
    prove_identity(whole, batch(), "gt")
    assert whole.base.training, "modes are put back"


@pytest.mark.parametrize("warp", ["gt", "pred"])
def test_an_injection_that_puts_another_answer_in_the_place_of_the_bases_is_refused(warp: Warp) -> None:
    def replaced(batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        mine = Prediction(base.value + 1)
        return mine.corrected(torch.zeros_like(mine.value), torch.zeros_like(mine.value))

    def written_into(batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        base.value += 1
        return base.corrected(torch.zeros_like(base.value), torch.zeros_like(base.value))

    def kept_for_itself(batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        return replace(base, base=None)

    for forward, says in (
        (replaced, "its untrained output differs from the base's"),
        (written_into, "its untrained output differs from the base's"),
        (kept_for_itself, "does not answer with the base that it was given"),
    ):
        whole = system()
        assert whole.injection is not None
        whole.injection.forward = forward
        with pytest.raises(PluginError, match=says):
            prove_identity(whole, batch(), warp)


def test_an_injection_that_only_claims_to_start_at_zero_is_refused() -> None:
    with pytest.raises(PluginError, match="ToyInjection declares zero_init but its untrained output differs"):
        prove_identity(system(first=0.1), batch(), "pred")

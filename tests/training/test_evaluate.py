from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from toy_plugin import DataOptions, ToyData
from toy_world import batch, system

from engine.contracts import Ablation
from engine.errors import InputError, PluginError
from engine.prediction import Batch, Prediction
from engine.training.evaluate import evaluate, evaluating, named_ablations, predictions
from engine.training.losses import WeightedLosses


class Given:
    """A metric that returns the sums and counts it was given, a batch after the other."""

    def __init__(self, *pairs: tuple[list[float], list[float]]) -> None:
        self.pairs = iter(pairs)

    def __call__(self, prediction: Prediction, made: Any) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        total, count = next(self.pairs)
        return {"figure": (torch.tensor(total), torch.tensor(count))}


def measured(*pairs: tuple[list[float], list[float]]) -> Any:
    sizes = [len(total) for total, _ in pairs]
    made = [(batch(size), Prediction(torch.zeros(size, 1, 2, 2))) for size in sizes]
    return evaluate(iter(made), [("given", Given(*pairs))])


def test_the_mean_weighs_samples_and_the_pooled_mean_weighs_pixels() -> None:
    evaluation = measured(([10.0, 3.0], [10.0, 1.0]), ([4.0], [2.0]))
    assert evaluation.mean == {"figure": pytest.approx((1 + 3 + 2) / 3)}
    assert evaluation.pooled == {"figure": pytest.approx(17 / 13)}
    assert evaluation.per_sample["figure"] == [1.0, 3.0, 2.0]


def test_a_sample_without_a_value_is_skipped_and_counted() -> None:
    evaluation = measured(([0.0, 3.0], [0.0, 1.0]))
    assert evaluation.mean == {"figure": 3.0}
    assert evaluation.skipped == {"figure": 1}
    assert math.isnan(evaluation.per_sample["figure"][0])


def test_a_metric_that_is_defined_nowhere_has_no_mean() -> None:
    evaluation = measured(([0.0], [0.0]))
    assert evaluation.mean == {}
    assert evaluation.pooled == {}
    assert evaluation.skipped == {"figure": 1}


def test_a_value_that_is_not_finite_stays_visible_in_the_mean() -> None:
    evaluation = measured(([float("nan"), 3.0], [1.0, 1.0]))
    assert math.isnan(evaluation.mean["figure"])
    assert evaluation.skipped == {"figure": 0}


EACH, OF_ALL = torch.zeros(2), torch.zeros(())
WRONG = [
    ((OF_ALL, 1), "returned (a tensor of shape (), 1)"),
    (0.5, "returned 0.5"),
    (None, "returned None"),
    (EACH, "returned a tensor of shape (2,)"),
    ({"figure": EACH}, "returned a tensor of shape (2,) for 'figure'"),
    ({"figure": (torch.zeros(1), EACH)}, "returned (a tensor of shape (1,), a tensor of shape (2,)) for 'figure'"),
    ({"figure": (EACH, 2)}, "returned (a tensor of shape (2,), 2) for 'figure'"),
    ({"figure": (EACH, EACH, EACH)}, "returned 3 values for 'figure'"),
    ({"figure": (EACH, EACH.numpy())}, "returned (a tensor of shape (2,), a value of type ndarray) for 'figure'"),
    ({7: (EACH, EACH)}, "returned 7 as a name"),
]


@pytest.mark.parametrize(("answer", "found"), WRONG)
def test_a_metric_that_returns_something_else_is_named_with_what_was_expected(answer: Any, found: str) -> None:
    with pytest.raises(PluginError) as refused:
        evaluate(iter([(batch(2), Prediction(torch.zeros(2, 1, 2, 2)))]), [("mine", lambda *_: answer)])
    expected = "expected {name: (sum, count)}, two tensors of shape (2,) with a number for each sample"
    assert str(refused.value) == f"the metric mine {found}; {expected}"


def test_a_loss_that_is_no_scalar_is_refused_by_name() -> None:
    with pytest.raises(PluginError, match=r"loss 'wide' returned shape \(2,\)"):
        WeightedLosses([("wide", 1.0, lambda prediction, made: torch.zeros(2))])(Prediction(torch.zeros(1)), {})


def test_losses_are_weighted_and_reported_as_they_enter_the_sum() -> None:
    three, four = torch.tensor(3.0, requires_grad=True), torch.tensor(4.0, requires_grad=True)
    losses = WeightedLosses([("a", 2.0, lambda *_: three), ("b", 0.5, lambda *_: four)])
    total, terms = losses(Prediction(torch.zeros(1)), {})
    assert total == 8.0
    assert dict(zip(losses.names, terms, strict=True)) == {"a": 6.0, "b": 2.0}


def test_every_module_gets_its_own_mode_back_even_after_an_error() -> None:
    whole = system(dropout=0.5, norm=True)
    whole.base.norm.eval()
    whole.base.dropout.train()
    modes = [module.training for module in whole.modules()]

    def fail() -> None:
        assert not any(module.training for module in whole.modules())
        assert not torch.is_grad_enabled()
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), evaluating(whole):
        fail()
    assert [module.training for module in whole.modules()] == modes
    assert torch.is_grad_enabled()


def test_the_base_alone_is_measured_beside_the_corrected_system() -> None:
    whole = system(zero_init=False, first=0.3)
    pairs = predictions(whole, ToyData(DataOptions(count=3)), batch_size=2, device=torch.device("cpu"))

    class Value:
        def __call__(self, prediction: Prediction, made: Any) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
            total = prediction.value.flatten(1).sum(1)
            return {"value": (total, torch.full_like(total, prediction.value[0].numel()))}

    evaluation = evaluate(pairs, [("value", Value())])
    assert evaluation.mean["value"] - evaluation.base_mean["value"] == pytest.approx(math.tanh(0.3), abs=1e-5)
    assert evaluation.ids == ["train-0", "train-1", "train-2"]


@pytest.mark.parametrize("ablation", ["zero", "shuffle"])
def test_an_ablation_leaves_the_base_alone_as_it_is(ablation: Ablation) -> None:
    class Reads(torch.nn.Module):
        def forward(self, made: Batch) -> Prediction:
            return Prediction(made["signal"] * 2 + made["image"])

    whole, data = system(zero_init=False), ToyData(DataOptions(count=6))
    whole.base = Reads()
    with torch.no_grad():
        whole.get_parameter("injection.head.weight").fill_(0.5)

    def both(how: Ablation) -> tuple[torch.Tensor, torch.Tensor]:
        made = [p for _, p in predictions(whole, data, batch_size=4, device=torch.device("cpu"), ablation=how)]
        bases = [prediction.base.value for prediction in made if prediction.base is not None]
        return torch.cat(bases), torch.cat([prediction.value for prediction in made])

    (base, corrected), (ablated_base, ablated) = both("none"), both(ablation)
    assert torch.equal(base, ablated_base)
    assert not torch.equal(corrected, ablated)


def test_the_injection_can_be_switched_off_and_its_signal_blanked() -> None:
    whole, data = system(zero_init=False), ToyData(DataOptions(count=4))
    with torch.no_grad():
        whole.get_parameter("injection.head.weight").fill_(0.5)

    def values(**how: Any) -> torch.Tensor:
        pairs = predictions(whole, data, batch_size=4, device=torch.device("cpu"), **how)
        return torch.cat([prediction.value for _, prediction in pairs])

    assert not torch.equal(values(), values(inject=False))
    assert torch.equal(values(ablation="zero"), values(inject=False)), "a blank signal corrects by tanh(0)"


def test_an_injection_may_bring_ablations_of_its_own_and_an_unknown_one_is_told_with_the_nearest() -> None:
    whole, data = system(zero_init=False), ToyData(DataOptions(count=4))
    whole.injection.ablations = {"inverted": lambda sample: {"signal": 1 - sample["signal"]}}
    with torch.no_grad():
        whole.get_parameter("injection.head.weight").fill_(0.5)

    def corrections(ablation: Ablation) -> torch.Tensor:
        pairs = predictions(whole, data, batch_size=4, device=torch.device("cpu"), ablation=ablation)
        return torch.cat([prediction.correction for _, prediction in pairs])

    assert named_ablations(["zero", "own", "zero"], whole) == ["zero", "inverted"]
    real, inverted = corrections("none"), corrections("inverted")
    assert torch.equal(inverted != 0, real == 0), "the correction stands where the signal is"
    with pytest.raises(
        InputError, match="there is no ablation 'invert'; expected one of none, shuffle, zero, inverted"
    ):
        corrections("invert")

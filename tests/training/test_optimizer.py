from __future__ import annotations

from typing import Any

import pytest
from toy_world import system

from engine.errors import InputError
from engine.globs import select
from engine.recipe.schema import Optimizer
from engine.training.optimizer import build_optimizer, set_learning_rates
from engine.training.rates import check_groups


def rates(trainable: str = "**", **settings: Any) -> dict[str, float]:
    """The learning rate of every parameter that the optimiser holds."""
    whole = system()
    optimizer = build_optimizer(whole, select(whole, [trainable], []), Optimizer.model_validate(settings))
    names = {id(parameter): name for name, parameter in whole.named_parameters()}
    return {names[id(each)]: group["lr"] for group in optimizer.param_groups for each in group["params"]}


def test_every_trainable_parameter_is_held_once_at_the_common_rate() -> None:
    assert rates(lr=0.5) == dict.fromkeys((name for name, _ in system().named_parameters()), 0.5)


def test_groups_set_rates_and_the_first_match_decides() -> None:
    found = rates(lr=1.0, groups=[{"match": "base.head.bias", "lr": 0.1}, {"match": "base.**", "lr": 0.2}])
    assert found["base.head.bias"] == 0.1
    assert found["base.head.weight"] == 0.2
    assert found["base.encoder.0.weight"] == 0.2
    assert found["injection.head.weight"] == 1.0


def test_a_group_may_name_a_module() -> None:
    found = rates(lr=1.0, groups=[{"match": "base.encoder.0", "lr": 0.1}])
    assert found["base.encoder.0.weight"] == found["base.encoder.0.bias"] == 0.1


def test_a_group_that_matches_only_frozen_parameters_is_an_error() -> None:
    with pytest.raises(InputError, match=r"optimizer group 'base\.\*\*' matches no trainable parameter"):
        rates("injection.**", groups=[{"match": "base.**", "lr": 0.1}])


def test_a_group_that_earlier_groups_leave_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match=r"optimizer group 'base\.head' has no effect: groups before it"):
        rates(groups=[{"match": "base.**", "lr": 0.1}, {"match": "base.head", "lr": 0.2}])


def test_a_mistyped_group_has_its_place_and_near_names() -> None:
    whole = system()
    groups = [{"match": "base.**", "lr": 0.1}, {"match": "injektion.**", "lr": 0.1}]
    (problem,) = check_groups(
        [name for name, _ in whole.named_parameters()],
        select(whole, ["**"], []),
        Optimizer.model_validate({"groups": groups}),
        lambda *path: f"place of {path}",
        "B",
    )
    assert problem.where == "place of (1, 'match')"
    assert problem.what.endswith("matches no trainable parameter of stage B")
    assert problem.near[0] == "injection.**"


def test_a_schedule_scales_every_group_from_its_own_peak() -> None:
    whole = system()
    settings = Optimizer.model_validate({"lr": 1.0, "groups": [{"match": "base.**", "lr": 0.2}]})
    optimizer = build_optimizer(whole, select(whole, ["**"], []), settings)
    set_learning_rates(optimizer, 0.1)
    set_learning_rates(optimizer, 0.5)
    assert sorted(group["lr"] for group in optimizer.param_groups) == [0.1, 0.5]

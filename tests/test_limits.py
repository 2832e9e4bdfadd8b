"""Memory that runs out and operators without a deterministic form end a command in words, wherever they come up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command, WriteRecipe, only_run, weights_of
from toy_world import PLUGIN, STAGE_A

from engine.errors import InputError, PluginError, WorldError
from engine.limits import limits_told

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free. If reserved memory is large, try it"
LOSSES = '''
"""Losses that meet a limit of the machine."""
import torch
from toy_plugin import Options, ToyLoss
from engine.hookspecs import hookimpl

class Full(ToyLoss):
    def __call__(self, prediction, batch):
        raise torch.OutOfMemoryError("{full}")

class FullBackwards(ToyLoss):
    def __call__(self, prediction, batch):
        return Late.apply(super().__call__(prediction, batch))

class Late(torch.autograd.Function):
    @staticmethod
    def forward(context, value):
        return value.clone()

    @staticmethod
    def backward(context, gradient):
        raise torch.OutOfMemoryError("{full}")

class ByChance(ToyLoss):
    def __call__(self, prediction, batch):
        value = prediction.value.flatten()
        return value.put(torch.tensor([0]), value[:1]).square().mean()

class Asked(ToyLoss):
    def __call__(self, prediction, batch):
        print("exact" if torch.are_deterministic_algorithms_enabled() else "free")
        return super().__call__(prediction, batch)

@hookimpl
def engine_losses(register):
    for kind in (Full, FullBackwards, ByChance, Asked):
        register(kind.__name__.lower(), Options, kind)
'''.replace("{full}", FULL)


@pytest.fixture
def recipe(toy_recipe: WriteRecipe, tmp_path: Path) -> Any:
    """recipe("full", ...): the toy recipe with a loss that meets a limit."""
    plugin = tmp_path / "limits.py"
    plugin.write_text(LOSSES)

    def write(loss: str, **changes: Any) -> Path:
        losses = {"train": {"losses": [{"name": loss}]}}
        return toy_recipe(plugins=[str(PLUGIN), str(plugin)], stage=[STAGE_A], **losses, **changes)

    yield write
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("loss", ["full", "fullbackwards"])
def test_a_device_that_is_full_ends_the_run_in_words(engine: Command, recipe: Any, tmp_path: Path, loss: str) -> None:
    done = engine("run", recipe(loss))
    assert done.code == 1
    assert "Traceback" not in done.err
    assert (
        "error no memory is left: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free." in done.err
    )
    assert "If reserved" not in done.err
    assert "a smaller batch_size" in done.err
    told = json.loads((only_run(tmp_path) / "status.json").read_text())
    assert told["status"] == "failed"
    assert told["message"].startswith("no memory is left")


@pytest.mark.parametrize(
    "cause",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes")],
)
def test_a_full_host_is_told_as_a_full_device_is(cause: Exception) -> None:
    with pytest.raises(WorldError, match="no memory is left"), limits_told():
        raise PluginError("the model toy failed") from cause
    with pytest.raises(WorldError, match="no memory is left"), limits_told():
        raise cause


def test_what_is_no_limit_stays_what_it_is() -> None:
    for other in (PluginError("the model toy failed"), InputError("a key"), RuntimeError("shapes"), KeyError("a")):
        with pytest.raises(type(other)) as raised, limits_told():
            raise other
        assert raised.value is other


def test_an_operator_without_a_deterministic_form_is_an_error_of_the_recipe(engine: Command, recipe: Any) -> None:
    path = recipe("bychance")
    assert engine("run", path).code == 0
    done = engine("run", path, "--set", "deterministic=true")
    assert done.code == 2
    assert "Traceback" not in done.err
    assert "deterministic = true cannot be held: torch's put_ does not have a deterministic implementation" in done.err


def test_a_recipe_that_repeats_exactly_says_so_to_torch(engine: Command, recipe: Any, tmp_path: Path) -> None:
    path = recipe("asked")
    free = engine("run", path, "--runs", "free/runs")
    exact = engine("run", path, "--runs", "exact/runs", "--set", "deterministic=true")
    assert "exact" not in free.out
    assert "free" not in exact.out.split("exact", 1)[1]
    weights = [weights_of(only_run(tmp_path / name), "A") for name in ("free", "exact")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

"""`compile = true` computes through torch.compile and changes nothing else; where that fails, a note says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from toy_world import STAGE_C

from engine.training import compiling

JOINT = {**{key: value for key, value in STAGE_C.items() if key != "init"}, "steps": 3}
RUN: dict[str, Any] = {"stage": [JOINT], "train": {"ema": 0.8, "evaluate_every": 2}}


def run(engine: Command, toy_recipe: WriteRecipe, name: str, **train: Any) -> dict[str, torch.Tensor]:
    recipe = toy_recipe(f"{name}.toml", **{**RUN, "name": name, "train": {**RUN["train"], **train}})
    done = engine("run", recipe)
    assert done.code == 0, done.err
    return weights_of(only_run(recipe.parent, name), "C")


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def use(function: Any) -> None:
        monkeypatch.setattr(compiling, "BACKEND", function)

    return use


def test_base_and_injection_run_compiled_and_learn_what_they_learn_otherwise(
    engine: Command, toy_recipe: WriteRecipe, backend: Any
) -> None:
    seen: list[torch.fx.GraphModule] = []

    def as_it_is(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        seen.append(graph)
        return graph.forward

    backend(as_it_is)
    compiled = run(engine, toy_recipe, "compiled", compile=True)
    drawn = "".join(graph.print_readable(print_output=False) for graph in seen)
    assert "conv2d" in drawn, "the base has been compiled"
    assert "tanh" in drawn, "the injection has been compiled"
    plain = run(engine, toy_recipe, "plain")
    assert compiled.keys() == plain.keys()
    assert all(torch.equal(compiled[key], plain[key]) for key in plain)


def test_where_the_compiler_fails_the_stage_runs_uncompiled_and_says_why_once(
    engine: Command, toy_recipe: WriteRecipe, backend: Any
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no working C++ compiler\nand pages of advice")

    backend(broken)
    fallen = run(engine, toy_recipe, "fallen", compile=True)
    told = [event.get("text", "") for event in events_of(only_run(toy_recipe().parent, "fallen"))]
    why = "toy runs uncompiled: RuntimeError: no working C++ compiler"
    assert [text for text in told if "uncompiled" in text] == [f"the model {why}", f"the injection {why}"]
    plain = run(engine, toy_recipe, "plain")
    assert all(torch.equal(fallen[key], plain[key]) for key in plain)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch looks at it while it compiles
def test_where_only_the_backward_pass_fails_compiled_the_stage_runs_uncompiled(
    engine: Command, toy_recipe: WriteRecipe, backend: Any
) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError("expected size 8==8, stride 1==64\nand pages of advice")

    forward, backward = make_boxed_func, make_boxed_func(fail)
    backend(aot_autograd(fw_compiler=lambda graph, _: forward(graph), bw_compiler=lambda *_: backward))
    fallen = run(engine, toy_recipe, "fallen", compile=True)
    told = [event.get("text", "") for event in events_of(only_run(toy_recipe().parent, "fallen"))]
    reason = "its compiled backward pass failed: AssertionError: expected size 8==8, stride 1==64"
    assert [text for text in told if "uncompiled" in text] == [f"the stage runs uncompiled, {reason}"]
    plain = run(engine, toy_recipe, "plain")
    assert all(torch.equal(fallen[key], plain[key]) for key in plain)


def test_the_plan_tells_which_stages_are_compiled(engine: Command, toy_recipe: WriteRecipe) -> None:
    recipe = toy_recipe(stage=[{**JOINT, "compile": True}, {**STAGE_C, "name": "D", "init": "C"}])
    shown = engine("plan", recipe).out
    assert "3 steps of 4 samples, fp32 compiled, from the starting weights" in shown
    assert "12 steps of 4 samples, fp32, from C" in shown

"""The toy recipe as data, its TOML, and the toy system: what the tests of the engine train."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from toy_plugin import BaseOptions, BoundOptions, ToyBase, ToyInjection

from engine.system import System

PLUGIN = Path(__file__).with_name("toy_plugin.py")

STAGE_A = {"name": "A", "title": "base only", "trainable": ["base.**"], "injection": False, "steps": 12}
STAGE_B = {
    "name": "B",
    "init": "A",
    "trainable": ["injection.**"],
    "frozen": ["base.**"],
    "injection": True,
    "warp": "gt",
    "steps": 12,
}
STAGE_C = {"name": "C", "init": "B", "trainable": ["**"], "injection": True, "warp": "pred", "steps": 12}

RECIPE: dict[str, Any] = {
    "name": "toy",
    "plugins": [str(PLUGIN)],
    "model": {"plugin": "toy"},
    "injection": {"plugin": "toy"},
    "data": {"train": {"plugin": "toy"}, "val": {"plugin": "toy", "split": "val", "count": 10}},
    "train": {
        "batch_size": 4,
        "optimizer": {"lr": 0.02},
        "losses": [{"name": "square"}],
        "log_every": 4,
    },
    "evaluate": {"metrics": [{"name": "error"}], "key": ["error"], "best": "error"},
    "stage": [STAGE_A, STAGE_B, STAGE_C],
}


def threshold(on_fail: str = "stop", at: str = "exit", **limits: Any) -> dict[str, Any]:
    """A gate on the mean held-out error."""
    return {"check": "threshold", "metric": "error", "at": at, "on_fail": on_fail, **limits}


def toml(recipe: Mapping[str, Any]) -> str:
    """The recipe as TOML: a line for each key of the top level, a line for each stage."""
    stages = recipe.get("stage")
    apart = isinstance(stages, list)
    lines = [f"{key} = {toml_value(value)}" for key, value in recipe.items() if key != "stage" or not apart]
    if apart:
        lines += ["stage = [", *(f"  {toml_value(stage)}," for stage in stages), "]"]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, table by table; arrays are replaced."""
    both = dict(under)
    for key, value in over.items():
        table = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = merged(both[key], value) if table else value
    return both


def system(seed: int = 0, zero_init: bool = True, first: float = 0.0, **base: Any) -> System:
    """A toy system with weights of its own for each seed."""
    torch.manual_seed(seed)
    made = ToyBase(BaseOptions(**base))  # before the injection, as the engine draws them
    return System(made, ToyInjection(BoundOptions(zero_init=zero_init, first=first)), target="target")


def batch(size: int = 2, side: int = 6, seed: int = 0) -> dict[str, Any]:
    """A toy batch with fixed numbers."""
    numbers = torch.Generator().manual_seed(seed)
    image = torch.randn(size, 1, side, side, generator=numbers)
    signal = torch.randint(0, 2, (size, 1, 1, 1), generator=numbers).expand_as(image).float()
    return {
        "image": image,
        "signal": signal,
        "target": 0.5 * image + 0.6 * (2 * signal - 1),
        "valid": torch.ones_like(image, dtype=torch.bool),
        "id": [str(i) for i in range(size)],
        "scene": [str(i) for i in range(size)],
    }

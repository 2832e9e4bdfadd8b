"""A small plugin file with one thing of each kind, and a recipe that uses all of it."""

PLUGIN = """
from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from engine.hookspecs import hookimpl


class Nothing(BaseModel):
    pass


class ToyModel(BaseModel):
    size: Literal["nano", "S", "M"] = "nano"
    depth: int = Field(default=2, ge=1)
    rates: tuple[float, ...] = ()
    crop: tuple[int, int] | None = None
    threshold: int | Literal["auto"] = "auto"

    @field_validator("depth")
    @classmethod
    def even(cls, depth: int) -> int:
        if depth % 2:
            raise ValueError(f"{depth} is odd")
        return depth


class ToyInjection(BaseModel):
    max_correction: float = 4.0
    limit: float = float("inf")


class Crop(BaseModel):
    height: int = 8
    mask: Path | None = None


class ToyData(BaseModel):
    root: Path | None = None
    cache: Path | Literal["off"] = "off"
    crop: Crop = Crop()
    extra: list[Path] = []


class ToyMetric(BaseModel):
    names: list[str] = ["toy-error", "toy-outliers"]


class ToyGate(BaseModel):
    metric: str = "toy-error"
    below: float = 1.0


@hookimpl
def engine_models(register):
    register("toy-model", ToyModel, lambda options: options, target="value", weights={"opaque": Path("/w.pt")})


@hookimpl
def engine_injections(register):
    register("toy-injection", ToyInjection, "os.path:join")


@hookimpl
def engine_datasets(register):
    register("toy-data", ToyData, "os.path:join")


@hookimpl
def engine_losses(register):
    register("toy-loss", Nothing, "os.path:join")


@hookimpl
def engine_metrics(register):
    register("toy-metric", ToyMetric, "os.path:join", produces=lambda options: options.names)


@hookimpl
def engine_gates(register):
    register("toy-gate", ToyGate, "os.path:join", needs=lambda options: [options.metric])
"""

RECIPE = """\
name = "toy"
plugins = ["toy_plugin.py"]

[model]
plugin = "toy-model"
size = "S"

[injection]
plugin = "toy-injection"

[data.train]
plugin = "toy-data"

[data.val]
plugin = "toy-data"

[train]
batch_size = 2
optimizer = { lr = 1e-3 }
losses = [{ name = "toy-loss", weight = 0.5 }]

[evaluate]
metrics = [{ name = "toy-metric" }]
key = ["toy-error"]
best = "toy-error"

[[stage]]
name = "A"
trainable = ["base.**"]
injection = false
steps = 10

[[stage]]
name = "B"
init = "A"
trainable = ["injection.**"]
frozen = ["base.**"]
warp = "gt"
steps = 5

[[stage.gate]]
check = "toy-gate"
below = 2.0
"""

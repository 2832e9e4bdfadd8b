"""The small work as a plugin of the engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from engine.hookspecs import hookimpl
from engine.prediction import Batch, Prediction

sys.path.insert(0, str(Path(__file__).parent))  # a recipe loads this file alone; what it shares lies beside it

import work  # found by the line above


class NoOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelOptions(NoOptions):
    modules: int


class DataOptions(NoOptions):
    split: str


class Model(work.Network):
    def __init__(self, options: ModelOptions) -> None:
        super().__init__(options.modules)

    def forward(self, batch: Batch) -> Prediction:  # type: ignore[override]  # as the engine asks
        return Prediction(value=super().forward(batch["x"]))


class Data:
    """Training is given what lies in memory instead (see ours.py); this is what is measured on held-out samples."""

    def __init__(self, options: DataOptions) -> None:
        self.split = options.split

    def __len__(self) -> int:
        return work.BATCH

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        name = f"{self.split}-{index}"
        batch = work.batches(1)[0]
        return {"x": batch["x"][index].numpy(), "y": batch["y"][index].numpy(), "id": name, "scene": name}


def loss(options: NoOptions) -> Any:
    return lambda prediction, batch: work.loss_of(prediction.value, batch["y"])


def metric(options: NoOptions) -> Any:
    def error(prediction: Prediction, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        squared = (prediction.value - batch["y"]).square().flatten(1)
        return {"error": (squared.sum(1), squared.new_full(squared.shape[:1], squared.shape[1]))}

    return error


@hookimpl
def engine_models(register: Any) -> None:
    register("step_work", ModelOptions, Model, target="y")


@hookimpl
def engine_datasets(register: Any) -> None:
    register("step_work", DataOptions, Data)


@hookimpl
def engine_losses(register: Any) -> None:
    register("step_work", NoOptions, loss)


@hookimpl
def engine_metrics(register: Any) -> None:
    register("step_work", NoOptions, metric, produces=lambda options: ["error"])

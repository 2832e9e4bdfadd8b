"""The small work as a plugin of the engine; augmentation draws from the generator that the engine hands to `sample`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from engine import events
from engine.hookspecs import hookimpl
from engine.prediction import Batch, Prediction

sys.path.insert(0, str(Path(__file__).parent))  # a recipe loads this file alone; what it shares lies beside it

import work  # found by the line above

WATCH = "RESUME_WATCH"
"""Names the folder, the attempt and the moment to be killed at, as JSON: a resumed run must have the same recipe."""

_asked = json.loads(os.environ[WATCH])
watch = work.Watch(Path(_asked["folder"]), _asked["attempt"], _asked["stop"])


class Progress:
    """Where the run stands, as the hooks tell it."""

    before = 0  # steps of the finished stages
    step = 0
    samples: ClassVar[list[int]] = []


class NoOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelOptions(NoOptions):
    dropout: float


class DataOptions(NoOptions):
    split: str
    augment: bool = False


class Model(nn.Module):
    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.network = work.Network(options.dropout)

    def forward(self, batch: Batch) -> Prediction:
        if not self.training:
            watch.evaluating(Progress.step)
        return Prediction(value=self.network(batch["image"]))


class Data:
    def __init__(self, options: DataOptions) -> None:
        self.options = options

    def __len__(self) -> int:
        return work.SAMPLES if self.options.split == "train" else work.HELD_OUT

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        image, target = work.example(index, self.options.split)
        if self.options.augment and rng is not None:
            noise = rng.standard_normal(image.shape)
            image, target = work.augmented(image, target, rng.random(), noise, rng.random())
        name = f"{self.options.split}-{index}"
        valid = np.ones(image.shape, bool)
        return {"image": image, "target": target, "valid": valid, "index": index, "id": name, "scene": name}


class Loss:
    def __init__(self, options: NoOptions) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        Progress.samples = batch["index"].tolist()
        return work.loss_of(prediction.value, batch["target"])


class Metric:
    def __init__(self, options: NoOptions) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        squared = (prediction.value - batch["target"]).square().flatten(1)
        return {"error": (squared.sum(1), squared.new_full(squared.shape[:1], squared.shape[1]))}


@hookimpl
def engine_models(register: Any) -> None:
    register("resume_work", ModelOptions, Model, target="target")


@hookimpl
def engine_datasets(register: Any) -> None:
    register("resume_work", DataOptions, Data)


@hookimpl
def engine_losses(register: Any) -> None:
    register("resume_work", NoOptions, Loss)


@hookimpl
def engine_metrics(register: Any) -> None:
    register("resume_work", NoOptions, Metric, produces=lambda options: ["error"])


@hookimpl
def engine_stage_started(event: events.StageStarted) -> None:
    Progress.before = int(event.title)


@hookimpl
def engine_step(event: events.Step) -> None:
    Progress.step = Progress.before + event.step
    watch.training(Progress.step, event.loss, Progress.samples)

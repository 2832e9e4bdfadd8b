"""MMEngine's Runner with its checkpoint hook, resumed with `resume=True`.

Its checkpoints hold Python objects, and it reads them with `torch.load` as that was before torch 2.6: without the
variable below every resume ends in torch's refusal to unpickle them.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import torch
from cell import Cell, script
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor
from work import (
    BATCH,
    EPOCH_STEPS,
    EPOCHS,
    LEARNING_RATE,
    SAVE_EVERY,
    SEED,
    STEPS,
    WEIGHT_DECAY,
    Network,
    Samples,
    Watch,
    loss_of,
)

BY_ITERATION = "iteration-based"
BY_EPOCH = "epoch-based"


class Model(BaseModel):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.network = Network(dropout)

    def forward(self, image: Tensor, target: Tensor, index: Tensor, mode: str) -> Any:
        predicted = self.network(image)
        return {"loss": loss_of(predicted, target)} if mode == "loss" else (predicted, target)


class Error(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        predicted, target = data_samples
        self.results.append(loss_of(predicted, target).item())

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {"error": sum(results) / len(results)}


class WatchHook(Hook):
    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.watch.training(runner.iter + 1, outputs["loss"].item(), data_batch["index"].tolist())

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.watch.evaluating(runner.iter)


def main(asked: Cell) -> None:
    watch = asked.watch()
    by_epoch = asked.flavour == BY_EPOCH
    loader = {
        "batch_size": BATCH,
        "num_workers": asked.workers,
        "persistent_workers": asked.workers > 0,
        "collate_fn": {"type": "default_collate"},
    }
    train = {"dataset": Samples("train", asked.variant.augment), **loader}
    train["sampler"] = {"type": "DefaultSampler" if by_epoch else "InfiniteSampler", "shuffle": True}
    held_out = {"dataset": Samples("val", False), "sampler": {"type": "DefaultSampler", "shuffle": False}, **loader}
    torch.manual_seed(SEED)  # the model is made before the runner seeds
    model = Model(asked.variant.dropout)
    runner = Runner(
        model=model,
        work_dir=str(asked.folder / "checkpoints"),
        train_dataloader=train,
        train_cfg={"by_epoch": True, "max_epochs": EPOCHS, "val_interval": 1}
        if by_epoch
        else {"by_epoch": False, "max_iters": STEPS, "val_interval": EPOCH_STEPS},
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": LEARNING_RATE, "weight_decay": WEIGHT_DECAY}},
        val_dataloader=held_out,
        val_cfg={},
        val_evaluator=Evaluator([Error()]),
        default_hooks={"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": SAVE_EVERY}},
        custom_hooks=[WatchHook(watch)],
        log_processor={"by_epoch": by_epoch},
        randomness={"seed": SEED, "deterministic": True},
        resume=asked.resumes,
        log_level="WARNING",
    )
    runner.train()
    watch.finish(model.network.state_dict())


if __name__ == "__main__":
    script(main, (BY_ITERATION, BY_EPOCH), ("mmengine", "torch"))

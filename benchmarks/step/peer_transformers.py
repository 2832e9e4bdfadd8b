"""Hugging Face's Trainer, without checkpoints; bare: without progress, logging and clipping."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import Trainer, TrainingArguments
from work import SEED, STEPS, Network, Ready, Run, batches, loss_of, network, optimizer_of, script


class Model(Network):
    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # as the Trainer asks
        predicted = super().forward(x)
        return {"loss": loss_of(predicted, y), "predicted": predicted}


class FromMemory(Trainer):
    def get_train_dataloader(self) -> Any:
        return Ready(batches())


def main(asked: Run) -> None:
    off = {
        "disable_tqdm": True,
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "max_grad_norm": 0.0,
        "lr_scheduler_type": "constant",
    }
    arguments = TrainingArguments(
        output_dir=str(asked.folder / "checkpoints"),
        max_steps=STEPS,
        save_strategy="no",
        seed=SEED,
        use_cpu=True,
        report_to="none",
        **(off if asked.bare else {}),
    )
    made = network(asked.modules)
    made.__class__ = Model  # the weights that every trainer starts from
    FromMemory(model=made, args=arguments, train_dataset=[0], optimizers=(optimizer_of(made), None)).train()


if __name__ == "__main__":
    script(main, ("transformers", "accelerate"))

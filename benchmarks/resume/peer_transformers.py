"""Hugging Face's Trainer with full determinism, resumed with `resume_from_checkpoint=True`."""

from __future__ import annotations

from typing import Any

from cell import Cell, script
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments, enable_full_determinism
from work import (
    BATCH,
    EPOCH_STEPS,
    EPOCHS,
    LEARNING_RATE,
    SAVE_EVERY,
    SEED,
    WEIGHT_DECAY,
    Network,
    Samples,
    Watch,
    loss_of,
)

BY_STEPS = "evaluation by steps"
"""The evaluation after a step comes before its checkpoint; with the other it comes after."""

BY_EPOCH = "evaluation by epoch"


class Model(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.network = Network(dropout)

    def forward(self, image: Tensor, target: Tensor, index: Tensor) -> dict[str, Tensor]:
        predicted = self.network(image)
        return {"loss": loss_of(predicted, target), "predicted": predicted}


class Watched(Trainer):
    """The Trainer as it is, with a note of each loss on its way."""

    watch: Watch

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        computed = super().compute_loss(model, inputs, *args, **options)
        if model.training:
            self.watch.training(self.state.global_step + 1, computed.item(), inputs["index"].tolist())
        else:
            self.watch.evaluating(self.state.global_step)
        return computed


def main(asked: Cell) -> None:
    enable_full_determinism(SEED)  # before the model is made, as the arguments below only reach the trainer
    arguments = TrainingArguments(
        output_dir=str(asked.folder / "checkpoints"),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        seed=SEED,
        data_seed=SEED,
        full_determinism=True,
        ignore_data_skip=False,
        save_strategy="steps",
        save_steps=SAVE_EVERY,
        eval_strategy="steps" if asked.flavour == BY_STEPS else "epoch",
        eval_steps=EPOCH_STEPS,
        logging_steps=1,
        dataloader_num_workers=asked.workers,
        remove_unused_columns=False,
        label_names=["target"],
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    model = Model(asked.variant.dropout)
    train, held_out = Samples("train", asked.variant.augment), Samples("val", False)
    trainer = Watched(model=model, args=arguments, train_dataset=train, eval_dataset=held_out)
    trainer.watch = asked.watch()
    trainer.train(resume_from_checkpoint=asked.resumes)
    trainer.watch.finish(model.network.state_dict())


if __name__ == "__main__":
    script(main, (BY_STEPS, BY_EPOCH), ("transformers", "accelerate", "torch"))

"""Lightning's Trainer with its own checkpoint callback, resumed with `ckpt_path="last"`."""

from __future__ import annotations

from typing import Any

import lightning
from cell import Cell, script
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader
from work import BATCH, EPOCHS, SAVE_EVERY, SEED, Network, Samples, Watch, loss_of, optimizer_of

PLAIN = "DataLoader"
STATEFUL = "StatefulDataLoader"


class Module(lightning.LightningModule):
    def __init__(self, dropout: float, watch: Watch) -> None:
        super().__init__()
        self.network = Network(dropout)
        self.watch = watch

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        loss = loss_of(self.network(batch["image"]), batch["target"])
        self.watch.training(self.trainer.global_step + 1, loss.item(), batch["index"].tolist())
        return loss

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        self.log("error", loss_of(self.network(batch["image"]), batch["target"]))
        self.watch.evaluating(self.trainer.global_step)

    def configure_optimizers(self) -> Any:
        return optimizer_of(self)


def main(asked: Cell) -> None:
    lightning.seed_everything(SEED, workers=True)
    watch = asked.watch()
    module = Module(asked.variant.dropout, watch)
    loader = StatefulDataLoader if asked.flavour == STATEFUL else DataLoader
    train = loader(Samples("train", asked.variant.augment), BATCH, shuffle=True, num_workers=asked.workers)
    held_out: DataLoader[Any] = DataLoader(Samples("val", False), BATCH, num_workers=asked.workers)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=EPOCHS,
        deterministic=True,
        default_root_dir=asked.folder,
        callbacks=[ModelCheckpoint(asked.folder / "checkpoints", every_n_train_steps=SAVE_EVERY, save_last=True)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, train, held_out, ckpt_path="last" if asked.resumes else None)
    watch.finish(module.network.state_dict())


if __name__ == "__main__":
    script(main, (PLAIN, STATEFUL), ("lightning", "torchdata", "torch"))

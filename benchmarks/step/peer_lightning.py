"""Lightning's Trainer; bare: in its "barebones mode", which is made to measure its overhead."""

from __future__ import annotations

from typing import Any

import lightning
from torch import Tensor
from work import STEPS, Ready, Run, batches, loss_of, network, optimizer_of, script


class Module(lightning.LightningModule):
    def __init__(self, asked: Run) -> None:
        super().__init__()
        self.network = network(asked.modules)
        self.tells = not asked.bare

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        loss = loss_of(self.network(batch["x"]), batch["y"])
        if self.tells:
            self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        return optimizer_of(self)


def main(asked: Run) -> None:
    off = {"barebones": True} if asked.bare else {}
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_steps=STEPS, default_root_dir=asked.folder / "runs", **off
    )
    trainer.fit(Module(asked), Ready(batches()))


if __name__ == "__main__":
    script(main, ("lightning",))

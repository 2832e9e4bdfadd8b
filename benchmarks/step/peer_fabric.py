"""Lightning Fabric: its own loop is the user's; there is nothing to switch off."""

from __future__ import annotations

from lightning.fabric import Fabric
from work import Run, batches, loss_of, network, optimizer_of, script


def main(asked: Run) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    made = network(asked.modules)
    model, optimizer = fabric.setup(made, optimizer_of(made))
    model.train()
    for batch in batches():
        loss = loss_of(model(batch["x"]), batch["y"])
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()


if __name__ == "__main__":
    script(main, ("lightning",))

"""A plain loop, to which all others are compared; "default optimiser": with AdamW as torch makes it, not fused."""

from __future__ import annotations

from work import Run, batches, loss_of, network, optimizer_of, script

DEFAULT = "default optimiser"


def main(asked: Run) -> None:
    model = network(asked.modules)
    optimizer = optimizer_of(model, fused=asked.setting != DEFAULT)
    model.train()
    for batch in batches():
        loss = loss_of(model(batch["x"]), batch["y"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


if __name__ == "__main__":
    script(main, ("torch",))

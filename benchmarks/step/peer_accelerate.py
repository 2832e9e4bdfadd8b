"""The loop of accelerate's guide; bare: without `accumulate` and the scheduler."""

from __future__ import annotations

from accelerate import Accelerator
from torch.optim.lr_scheduler import LambdaLR
from work import Run, batches, loss_of, network, optimizer_of, script


def main(asked: Run) -> None:
    accelerator = Accelerator(cpu=True)
    made = network(asked.modules)
    plain = optimizer_of(made)
    model, optimizer, scheduler = accelerator.prepare(made, plain, LambdaLR(plain, lambda step: 1.0))
    model.train()
    if asked.bare:
        for batch in batches():
            loss = loss_of(model(batch["x"]), batch["y"])
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        return
    for batch in batches():
        with accelerator.accumulate(model):
            loss = loss_of(model(batch["x"]), batch["y"])
            accelerator.backward(loss)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()


if __name__ == "__main__":
    script(main, ("accelerate",))

"""A loop on accelerate, saved with `save_state` every few steps and resumed as its checkpointing guide says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, ProjectConfiguration, set_seed
from cell import Cell, script
from torch.utils.data import DataLoader
from work import BATCH, EPOCH_STEPS, EPOCHS, SAVE_EVERY, SEED, Network, Samples, loss_of, optimizer_of

SKIP = "skip_first_batches"
STATEFUL = "use_stateful_dataloader"


def newest(folder: Path) -> Path:
    return max(folder.glob("step_*"), key=lambda path: int(path.name.removeprefix("step_")))


def main(asked: Cell) -> None:
    watch = asked.watch()
    stateful = asked.flavour == STATEFUL
    accelerator = Accelerator(
        cpu=True,
        project_config=ProjectConfiguration(project_dir=str(asked.folder)),
        dataloader_config=DataLoaderConfiguration(
            use_seedable_sampler=True, data_seed=SEED, use_stateful_dataloader=stateful
        ),
    )
    set_seed(SEED, deterministic=True)
    network = Network(asked.variant.dropout)
    train: DataLoader[Any] = DataLoader(
        Samples("train", asked.variant.augment), BATCH, shuffle=True, num_workers=asked.workers
    )
    held_out: DataLoader[Any] = DataLoader(Samples("val", False), BATCH, num_workers=asked.workers)
    network, optimizer, train, held_out = accelerator.prepare(network, optimizer_of(network), train, held_out)
    step = 0
    if asked.resumes:
        kept = newest(asked.folder)
        accelerator.load_state(str(kept))
        step = int(kept.name.removeprefix("step_"))
    for epoch in range(step // EPOCH_STEPS, EPOCHS):
        train.set_epoch(epoch)
        network.train()
        skipped = step - epoch * EPOCH_STEPS
        # A stateful loader already stands where it stood; the guide says not to skip as well.
        for batch in train if stateful or not skipped else accelerator.skip_first_batches(train, skipped):
            loss = loss_of(network(batch["image"]), batch["target"])
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            watch.training(step, loss.item(), batch["index"].tolist())
            if step % SAVE_EVERY == 0:
                accelerator.save_state(str(asked.folder / f"step_{step}"))
        network.eval()
        with torch.no_grad():
            for batch in held_out:
                accelerator.gather_for_metrics(loss_of(network(batch["image"]), batch["target"]))
                watch.evaluating(step)
    watch.finish(accelerator.unwrap_model(network).state_dict())


if __name__ == "__main__":
    script(main, (SKIP, STATEFUL), ("accelerate", "torchdata", "torch"))

"""A plain loop that saves as PyTorch's tutorial on general checkpoints does: epoch, weights, optimiser."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from cell import Cell, script
from torch.utils.data import DataLoader
from work import BATCH, EPOCH_STEPS, EPOCHS, SEED, Network, Samples, loss_of, optimizer_of


def seed_worker(_: int) -> None:
    """As the reproducibility notes say: the generators of a worker follow torch's seed for it."""
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


def main(asked: Cell) -> None:
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    watch = asked.watch()
    network = Network(asked.variant.dropout)
    optimizer = optimizer_of(network)
    shuffle = torch.Generator().manual_seed(SEED)
    train: DataLoader[Any] = DataLoader(
        Samples("train", asked.variant.augment),
        BATCH,
        shuffle=True,
        num_workers=asked.workers,
        worker_init_fn=seed_worker,
        generator=shuffle,
    )
    held_out: DataLoader[Any] = DataLoader(Samples("val", False), BATCH, num_workers=asked.workers)
    kept = asked.folder / "checkpoint.pt"
    first = 0
    if asked.resumes:
        state = torch.load(kept, weights_only=True)
        network.load_state_dict(state["model_state_dict"])
        optimizer.load_state_dict(state["optimizer_state_dict"])
        first = state["epoch"] + 1
    for epoch in range(first, EPOCHS):
        network.train()
        for number, batch in enumerate(train):
            optimizer.zero_grad()
            loss = loss_of(network(batch["image"]), batch["target"])
            loss.backward()
            optimizer.step()
            watch.training(epoch * EPOCH_STEPS + number + 1, loss.item(), batch["index"].tolist())
        torch.save(
            {
                "epoch": epoch,
                "model_state_dict": network.state_dict(),
                "optimizer_state_dict": optimizer.state_dict(),
                "loss": loss.item(),
            },
            kept,
        )
        network.eval()
        with torch.no_grad():
            for batch in held_out:
                loss_of(network(batch["image"]), batch["target"])
                watch.evaluating((epoch + 1) * EPOCH_STEPS)
    watch.finish(network.state_dict())


if __name__ == "__main__":
    script(main, ("as the tutorial",), ("torch",))

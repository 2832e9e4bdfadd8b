"""ignite's supervised trainer; as shipped with a progress bar of the loss and the handler that stops at a NaN."""

from __future__ import annotations

from typing import Any

from ignite.contrib.handlers import ProgressBar
from ignite.engine import Events, create_supervised_trainer
from ignite.handlers import TerminateOnNan
from work import Run, batches, loss_of, network, optimizer_of, script


def pair(batch: dict[str, Any], device: Any, non_blocking: bool) -> tuple[Any, Any]:
    return batch["x"], batch["y"]


def main(asked: Run) -> None:
    model = network(asked.modules)
    trainer = create_supervised_trainer(model, optimizer_of(model), loss_of, prepare_batch=pair)
    if not asked.bare:
        ProgressBar().attach(trainer, output_transform=lambda loss: {"loss": loss})
        trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    trainer.run(batches(), max_epochs=1)


if __name__ == "__main__":
    script(main, ("pytorch-ignite",))

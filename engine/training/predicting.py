"""What a system answers to inputs without a target, one after the other, each of its own size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from engine.data.loader import Fixed, evaluation_batches, to_device
from engine.data.source import Source
from engine.prediction import Batch, Prediction
from engine.system import System
from engine.training.evaluate import evaluating
from engine.training.exporting import now
from engine.training.tiling import Bands, in_bands


@dataclass(frozen=True)
class Answer:
    """The answer to a batch of one, the seconds that it took, and of bands how much they differ where they overlap."""

    batch: Batch
    prediction: Prediction
    seconds: float
    seam: float | None


def answers(system: System, inputs: Source, device: torch.device, bands: Bands | None = None) -> Iterator[Answer]:
    """An answer to each input, in evaluation mode and float32, in bands where that is asked.

    The base answers alone where an input lacks the auxiliary signal.
    """
    signal = system.corrector.signal if system.corrector is not None else ()
    for batch in evaluation_batches(Fixed(inputs), 1, workers=0, pin=device.type == "cuda"):
        moved = to_device(batch, device)
        answer = partial(system, inject=all(name in moved for name in signal))
        began = now(device)
        with evaluating(system):
            prediction, seam = (answer(moved), None) if bands is None else in_bands(answer, moved, bands)
        yield Answer(moved, prediction, now(device) - began, seam)

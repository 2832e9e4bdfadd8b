"""Predictions written out in the formats that plugins bring, while they pass on to be measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.contracts import Export
from engine.errors import WorldError
from engine.prediction import Batch, Prediction
from engine.reading import reading


@dataclass(frozen=True)
class Exporting:
    """An export at work: what it is called in a recipe or on the command line, and the folder it writes to."""

    name: str
    write: Export
    folder: Path

    def __call__(self, prediction: Prediction, batch: Batch, seconds: float) -> None:
        """Write a batch; WorldError where the folder or a file cannot be written."""
        with reading(f"the export {self.name}"):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.write(prediction, batch, self.folder, seconds)
            except OSError as error:
                raise WorldError(f"the export {self.name} could not be written: {error}") from error


class Stopwatch:
    """What the forward passes of a module took; attached for as long as it is used as a context."""

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        self.module, self.device = module, device
        self.seconds = 0.0

    def __enter__(self) -> Stopwatch:
        began = 0.0

        def start(*_: object) -> None:
            nonlocal began
            began = now(self.device)

        def stop(*_: object) -> None:
            self.seconds = now(self.device) - began

        self._hooks = [self.module.register_forward_pre_hook(start), self.module.register_forward_hook(stop)]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


def now(device: torch.device) -> float:
    """The time in seconds at which the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def exported(
    pairs: Iterator[tuple[Batch, Prediction]], exports: Sequence[Exporting], watch: Stopwatch
) -> Iterator[tuple[Batch, Prediction]]:
    """The same pairs, each written by every export; WorldError where a folder or a file cannot be written."""
    with watch:
        for batch, prediction in pairs:
            for export in exports:
                export(prediction, batch, watch.seconds / len(prediction.value))
            yield batch, prediction

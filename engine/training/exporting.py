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


class Stopwatch:
    """What the forward passes of a module took; attached for as long as it is used as a context."""

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        self.module, self.device = module, device
        self.seconds = 0.0

    def __enter__(self) -> Stopwatch:
        began = 0.0

        def start(*_: object) -> None:
            nonlocal began
            began = self._now()

        def stop(*_: object) -> None:
            self.seconds = self._now() - began

        self._hooks = [self.module.register_forward_pre_hook(start), self.module.register_forward_hook(stop)]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def exported(
    pairs: Iterator[tuple[Batch, Prediction]], exports: Sequence[Exporting], watch: Stopwatch
) -> Iterator[tuple[Batch, Prediction]]:
    """The same pairs, each written by every export; WorldError where a folder or a file cannot be written."""
    with watch:
        for batch, prediction in pairs:
            for export in exports:
                with reading(f"the export {export.name}"):
                    try:
                        export.folder.mkdir(parents=True, exist_ok=True)
                        export.write(prediction, batch, export.folder, watch.seconds / len(prediction.value))
                    except OSError as error:
                        raise WorldError(f"the export {export.name} could not be written: {error}") from error
            yield batch, prediction

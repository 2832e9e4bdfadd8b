"""TensorBoard: event files in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.contracts import TrackedRun
from engine_trackers.library import require
from engine_trackers.options import TensorBoardOptions

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FLUSHED = 10
"""Seconds after which a figure is on the disk, so that it can be seen while the run goes on."""


class TensorBoard:
    """Figures as scalars; recipe, verdicts and places as texts."""

    writer: SummaryWriter

    def __init__(self, options: TensorBoardOptions) -> None:
        require("tensorboard", "tensorboard")
        self.folder = options.folder
        self.where = str(self.folder) if self.folder else "in the run's directory"

    def begin(self, run: TrackedRun) -> None:
        """Open a file in the run's folder; a resumed run adds one to it."""
        from torch.utils.tensorboard import SummaryWriter

        folder = self.folder / run.name / run.id if self.folder else run.directory / "tensorboard"
        self.writer = SummaryWriter(str(folder), flush_secs=FLUSHED)
        rows = "".join(f"| {name} | {value} |\n" for name, value in run.params.items())
        self.writer.add_text("recipe", f"| key | value |\n|---|---|\n{rows}", 0)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A scalar each."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)

    def tags(self, step: int, tags: Mapping[str, str]) -> None:
        """A text each."""
        for name, text in tags.items():
            self.writer.add_text(name, text, step)

    def end(self, status: str) -> None:
        """Write what is left."""
        self.writer.close()

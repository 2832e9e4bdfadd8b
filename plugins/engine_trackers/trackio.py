"""Trackio: figures kept on this machine, or sent to a Hugging Face Space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.contracts import TrackedRun
from engine_trackers.aside import aside
from engine_trackers.library import require
from engine_trackers.options import TrackioOptions


class Trackio:
    """Config and rows of one Trackio run."""

    run: Any

    def __init__(self, options: TrackioOptions) -> None:
        require("trackio", "trackio")
        self.options = options
        self.where = options.space or f"project {options.project or 'of the recipe'}"

    def begin(self, run: TrackedRun) -> None:
        """Open the run under its own name, so that a resumed one goes on there."""
        import trackio

        with aside():  # it prints
            self.run = trackio.init(
                project=self.options.project or run.name,
                name=run.id,
                space_id=self.options.space,
                config=dict(run.params),
                resume="allow",
            )

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A row."""
        self.run.log(dict(figures), step=step)

    def tags(self, step: int, tags: Mapping[str, str]) -> None:
        """A row of texts, under names that Trackio does not use itself."""
        self.run.log({f"tag/{name}": text for name, text in tags.items()}, step=step)

    def end(self, status: str) -> None:
        """Write or send what is left."""
        with aside():
            self.run.finish()

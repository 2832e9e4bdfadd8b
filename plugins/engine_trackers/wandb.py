"""Weights & Biases: its server, or a folder to send later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.contracts import TrackedRun
from engine.errors import WorldError
from engine_trackers.library import require
from engine_trackers.options import WandbOptions

STEP = "step"


class Wandb:
    """Config, history and summary of one wandb run."""

    run: Any

    def __init__(self, options: WandbOptions) -> None:
        require("wandb", "wandb")
        self.options = options
        self.where = f"project {options.project or 'of the recipe'}, {options.mode}"

    def begin(self, run: TrackedRun) -> None:
        """Open the run under its own id, so that a resumed one goes on there."""
        import wandb

        options = self.options
        if options.mode == "online" and wandb.api.api_key is None:  # wandb would ask in the terminal
            raise WorldError('no key: set WANDB_API_KEY, call `wandb login`, or write mode = "offline"')
        folder = options.folder or run.directory
        folder.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project=options.project or run.name,
            entity=options.entity,
            name=run.id,
            id=run.id,
            resume="allow",
            mode=options.mode,
            dir=str(folder),
            config=dict(run.params),
            settings=wandb.Settings(console="off", silent=True),
        )
        # wandb's own steps only grow, and a resumed run tells some of them again
        self.run.define_metric(STEP)
        self.run.define_metric("*", step_metric=STEP)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A row of the history."""
        self.run.log({STEP: step, **figures})

    def tags(self, step: int, tags: Mapping[str, str]) -> None:
        """Texts of the summary; wandb's tags are words to filter by."""
        self.run.summary.update(dict(tags))

    def end(self, status: str) -> None:
        """Send what is left."""
        self.run.finish(exit_code=0 if status == "done" else 1)

"""The promises of a tracker."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.contracts import TrackedRun
from engine.registered import guarded
from engine.testing.subject import Check, Subject

PARAMS = {"seed": 0, "stage.A.optimizer.lr": 2e-4, "stage.A.trainable": '["base.**"]', "model.weights": None}


def tracker(name: str, options: Mapping[str, Any] | None = None, *, files: Sequence[Path] = ()) -> list[Check]:
    """Checks of the tracker `name`, with options by which it keeps everything on this machine."""
    subject = Subject("trackers", name, options or {}, files)

    def tell(directory: Path, resumed: bool) -> None:
        run = TrackedRun("toy", "20260101-000000-abc", directory, resumed, PARAMS)
        told = subject.build()

        def call() -> None:
            with guarded(f"{subject} failed"):
                told.begin(run)
                told.tags(0, {"run": str(directory), "device": "cpu"})
                told.figures(10, {"train/loss": 0.5, "train/loss.square": float("nan")})
                told.figures(20, {"val/error, px": 0.4})
                told.tags(20, {"gate.A.exit.threshold": "pass (go on): 0.4 is at most 0.5"})
                told.end("done")

        subject.run("it does not take a run", call)

    def it_says_whom_it_tells() -> None:
        where = getattr(subject.build(), "where", None)
        if not isinstance(where, str) or not where:
            subject.fail(f"its attribute 'where' is {where!r}", "a text that warnings can name")

    def it_takes_a_whole_run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            tell(Path(folder), resumed=False)

    def it_takes_a_run_that_is_resumed() -> None:
        with tempfile.TemporaryDirectory() as folder:
            tell(Path(folder), resumed=False)
            tell(Path(folder), resumed=True)

    def it_takes_a_resumed_run_of_which_it_never_heard() -> None:
        with tempfile.TemporaryDirectory() as folder:
            tell(Path(folder), resumed=True)

    return subject.checks(
        it_says_whom_it_tells,
        it_takes_a_whole_run,
        it_takes_a_run_that_is_resumed,
        it_takes_a_resumed_run_of_which_it_never_heard,
    )

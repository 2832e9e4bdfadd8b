"""What every trainer's script is asked to run, and how: once from the command line, or again and again by forking.

Importing a trainer takes seconds and a run of the work a fraction of one. With `--serve` a script imports once and then
forks a process for each run that it is asked for; that process starts with nothing but the imports.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from work import STOPS, VARIANTS, Variant, Watch

SAID = "said-{}.txt"
"""Where in its folder a forked run writes what it says; the number is that of the attempt."""

LIMIT = 300
"""Seconds that one run may take; it takes a few, so this only ends a hang."""


@dataclass(frozen=True)
class Cell:
    """One run.

    folder: where checkpoints, the step log and the final weights go. stop: where to be killed, None for never.
    attempt: 0 at first, 1 for the resumed process. flavour: which of the script's ways to set its trainer up.
    """

    folder: Path
    variant: Variant
    workers: int
    stop: str | None
    attempt: int
    flavour: str

    @property
    def resumes(self) -> bool:
        return self.attempt > 0

    def watch(self) -> Watch:
        return Watch(self.folder, self.attempt, self.stop)


def script(main: Callable[[Cell], int | None], flavours: Sequence[str], packages: Sequence[str]) -> None:
    """Run `main` as the command line asks; `packages` are those whose versions matter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true", help="fork a run for each line of arguments (JSON) on stdin")
    parser.add_argument("--versions", action="store_true", help="print the versions that matter and exit")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--stop", choices=STOPS)
    parser.add_argument("--attempt", type=int, default=0)
    parser.add_argument("--flavour", choices=flavours, default=flavours[0])

    def run(asked: argparse.Namespace) -> int:
        variant = VARIANTS[asked.variant]
        return main(Cell(asked.folder, variant, asked.workers, asked.stop, asked.attempt, asked.flavour)) or 0

    asked = parser.parse_args()
    if asked.versions:
        print(json.dumps({name: version(name) for name in packages}))
    elif asked.serve:
        importlib.import_module("torch._dynamo")  # an optimiser's first step imports it, which takes a second
        for line in sys.stdin:
            print(_forked(run, parser.parse_args(json.loads(line))), flush=True)
    else:
        sys.exit(run(asked))


def _forked(run: Callable[[argparse.Namespace], int], asked: argparse.Namespace) -> int:
    """The exit status of a run in a process of its own, minus the signal where one ended it."""

    def said() -> None:
        signal.alarm(LIMIT)
        into = os.open(asked.folder / SAID.format(asked.attempt), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(into, 1)
        os.dup2(into, 2)
        sys.exit(run(asked))

    child = multiprocessing.get_context("fork").Process(target=said)  # which prints what a trainer raises
    child.start()
    child.join()
    return child.exitcode or 0

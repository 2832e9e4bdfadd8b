"""What every trainer's script is asked to run, and how: once from the command line, or again and again by forking."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what all measurements share

from serving import serve  # found by the line above
from work import STOPS, VARIANTS, Variant, Watch


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
    parser.add_argument("--serve", action="store_true", help="fork a run for each line on stdin, see serving.py")
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
        serve(lambda arguments: run(parser.parse_args(arguments)))
    else:
        sys.exit(run(asked))

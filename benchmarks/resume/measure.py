"""Runs the resume matrix of every trainer whose environment exists, prints one table and writes it into the docs.

python benchmarks/resume/measure.py --write docs/resume_peers.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from compare import Outcome, compare
from table import Row, markdown
from work import STOPS, VARIANTS

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what all measurements share

from page import replaced  # found by the line above
from serving import Server

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORKERS = (0, 2)
SAID = "said-{}.txt"
"""Where in its folder a run writes what it says; the number is that of the attempt."""

ROW = "row.json"
"""A row that is measured, in the folder of its runs: a measurement that was interrupted goes on after it."""


@dataclass(frozen=True)
class Trainer:
    """A script, the Python that has what it imports, and one of its flavours.

    stages: the flavour that has stages, for the stop at their boundary; trainers without stages have none.
    """

    title: str
    script: str
    python: Path
    flavour: str
    stages: str | None = None

    @property
    def stops(self) -> list[str]:
        return [stop for stop in STOPS if stop != "stage boundary" or self.stages]


def trainers() -> list[Trainer]:
    own = Path(sys.executable)
    found = [Trainer("this engine", "ours.py", own, "engine run", "engine run, two stages")]
    for name, script, flavours in (
        ("Lightning", "lightning", ("DataLoader", "StatefulDataLoader")),
        ("Hugging Face Trainer", "transformers", ("evaluation by steps", "evaluation by epoch")),
        ("MMEngine", "mmengine", ("iteration-based", "epoch-based")),
        ("accelerate", "accelerate", ("skip_first_batches", "use_stateful_dataloader")),
    ):
        python = ROOT / f".venv-peers-{script}" / "bin" / "python"
        found += [Trainer(f"{name}, {flavour}", f"peer_{script}.py", python, flavour) for flavour in flavours]
    found.append(Trainer("plain PyTorch, as the tutorial", "peer_torch.py", own, "as the tutorial"))
    return found


@dataclass(frozen=True)
class Run:
    """What a run is made of, whatever happens to it."""

    variant: str
    workers: int
    flavour: str


def outcome(server: Server, run: Run, folder: Path, stop: str | None = None, attempt: int = 0) -> str:
    """Do one run; "" when it ended as it should, else what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--folder", str(folder), "--variant", run.variant, "--workers", str(run.workers)]
    arguments += ["--flavour", run.flavour, "--attempt", str(attempt), *(["--stop", stop] if stop else [])]
    said = folder / SAID.format(attempt)
    status = server.run(arguments, said)
    if status is None:
        return "the script ended"
    if stop:
        return "" if status in (-signal.SIGKILL, 256 - signal.SIGKILL) else "was not killed"
    last = (said.read_text().strip().splitlines() or [""])[-1]
    return "" if status == 0 else f"failed: {last[:120]}"


def rows(trainer: Trainer, work: Path) -> list[Row]:
    """All the rows of one trainer."""
    folder = work / trainer.title.replace(" ", "_").replace(",", "")
    with Server(trainer.python, HERE / trainer.script) as server:
        return [row(trainer, server, variant, workers, folder) for variant in VARIANTS for workers in WORKERS]


def row(trainer: Trainer, server: Server, variant: str, workers: int, work: Path) -> Row:
    """All the cells of one trainer, variant and number of workers."""
    folder = work / f"{variant}-{workers}".replace(" ", "")
    if (folder / ROW).exists():
        return Row.read(folder / ROW)
    shutil.rmtree(folder, ignore_errors=True)
    plain, untouched, again = Run(variant, workers, trainer.flavour), folder / "untouched", folder / "again"
    problem = outcome(server, plain, untouched) or outcome(server, plain, again)
    if problem:
        failed = dict.fromkeys(trainer.stops, Outcome(error=problem))
        return Row(trainer.title, variant, workers, repeats=False, outcomes=failed)
    outcomes = {}
    for stop in trainer.stops:
        asked, reference, resumed = plain, untouched, folder / stop.replace(" ", "-")
        if stop == "stage boundary" and trainer.stages:
            asked, reference = Run(variant, workers, trainer.stages), folder / "stages-untouched"
            problem = outcome(server, asked, reference)
        problem = problem or outcome(server, asked, resumed, stop) or outcome(server, asked, resumed, attempt=1)
        outcomes[stop] = Outcome(error=problem) if problem else compare(reference, resumed)
    made = Row(trainer.title, variant, workers, compare(untouched, again, attempt=0).identical, outcomes)
    made.write(folder / ROW)
    print(f"{trainer.title}, {variant}, {workers} workers: done", file=sys.stderr, flush=True)
    return made


def versions(trainer: Trainer) -> dict[str, str]:
    said = subprocess.run(
        [trainer.python, HERE / trainer.script, "--versions"], capture_output=True, text=True, check=True
    )
    told: dict[str, str] = json.loads(said.stdout.splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="trainers whose name contains this")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "resume-peers", help="folder for the runs")
    parser.add_argument("--write", type=Path, help="Markdown page to write the table into, between its marks")
    asked = parser.parse_args()
    wanted = [trainer for trainer in trainers() if asked.only.lower() in trainer.title.lower()]
    there = [trainer for trainer in wanted if trainer.python.exists()]
    for trainer in wanted:
        if trainer not in there:
            print(f"{trainer.title}: no environment, left out (make resume-peers)", file=sys.stderr)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = [row for rows_of in pool.map(lambda trainer: rows(trainer, asked.work), there) for row in rows_of]
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, CPU only"
    table = markdown(measured, {trainer.title: versions(trainer) for trainer in there}, machine)
    print(table)
    if asked.write:
        asked.write.write_text(replaced(asked.write.read_text(), "measured", table))


if __name__ == "__main__":
    main()

"""How long the command line takes to answer, in new processes and in rounds, as one table.

python benchmarks/startup.py --write docs/bench_startup.md
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from page import replaced

RECIPE = str(Path(__file__).parents[1] / "recipes" / "s2m2_pol.toml")
PACKAGES = ("torch", "pydantic", "typer", "rich")
COMPLETION = {"_ENGINE_COMPLETE": "complete_bash", "COMP_WORDS": "engine che", "COMP_CWORD": "1"}
ENGINE = str(Path(sys.executable).with_name("engine"))


@dataclass
class Row:
    """A command and what each of its runs took: seconds on the clock, and of the processor."""

    name: str
    command: Sequence[str]
    limit: float | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def run(self, cache: str) -> None:
        """Run it once and keep its times; one that fails ends the benchmark with its words."""
        # Where the caller forbids Python to keep bytecode, an editable engine would be compiled anew in every run.
        kept = {"PYTHONDONTWRITEBYTECODE": "", "OMP_NUM_THREADS": "1", "ENGINE_CACHE": cache}
        environment = {**os.environ, **kept, **self.variables}
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(self.command, env=environment, capture_output=True, text=True, check=False)
        self.clock.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if done.returncode:
            raise SystemExit(f"{self.name} ended with {done.returncode}: {done.stderr}")


def rows() -> list[Row]:
    """The floors, then the commands with the seconds that each is allowed."""
    python = [sys.executable, "-c"]
    return [
        Row("`python -c pass`", [*python, "pass"]),
        Row("`python -c 'import typer'`", [*python, "import typer"]),
        Row("`python -c 'from pydantic import BaseModel'`", [*python, "from pydantic import BaseModel"]),
        Row("`python -c 'import torch'`", [*python, "import torch"]),
        Row("`engine --help`", [ENGINE, "--help"], 0.2),
        Row("completion of `engine che`", [ENGINE], 0.2, COMPLETION),
        Row("`engine plugins`", [ENGINE, "plugins"], 0.2),
        Row("`engine check s2m2_pol.toml`", [ENGINE, "check", RECIPE], 0.2),
        Row("`engine plan s2m2_pol.toml`", [ENGINE, "plan", RECIPE], 3.0),
    ]


def table(measured: Sequence[Row], caption: str) -> str:
    """Minimum and median on the clock, the median of the processor, and whether the median is within the limit."""
    lines = [caption, "", "| | minimum, s | median, s | processor, s | at most, s |", "|---|---:|---:|---:|---|"]
    for row in measured:
        median = statistics.median(row.clock)
        held = "" if row.limit is None else f"{row.limit:g}: {'held' if median <= row.limit else 'missed'}"
        processor = statistics.median(row.processor)
        lines.append(f"| {row.name} | {min(row.clock):.3f} | {median:.3f} | {processor:.3f} | {held} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", type=Path, help="a page with marks to write the table into")
    options = parser.parse_args()
    measured = rows()
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as cache:
        for row in measured:  # so that files are in the page cache, and the outline of the modules is kept
            row.run(cache)
            row.clock.clear()
            row.processor.clear()
        load = os.getloadavg()[0]
        for number in range(options.rounds):
            for row in measured:
                row.run(cache)
            print(f"round {number + 1} of {options.rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    caption = (
        f"{options.rounds} warm rounds, a new process each, one after the other. Python {platform.python_version()}, "
        f"{versions}; {platform.machine()}, {os.cpu_count()} processors, load average {load:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end."
    )
    text = table(measured, caption)
    print(text)
    if options.write:
        options.write.write_text(replaced(options.write.read_text(), "bench-startup", text))


if __name__ == "__main__":
    main()

"""Time and memory of the S2M2 network before and after, and of a step with each of its switches, in paired rounds.

python benchmarks/s2m2/measure.py --before 032954d --write docs/bench_s2m2.md
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what all measurements share

from page import replaced  # found by the line above

ROOT = Path(__file__).parents[2]
VERSIONS = ("forward", "forward and backward")
SWITCHES = (
    "as shipped",
    "channels first",
    "attention without the fused kernel",
    "optimiser: a loop over tensors",
    "optimiser: foreach",
    "checkpointing = true",
    'precision = "bf16"',
)
COMPILED = ("as shipped", "compile = true")
LOADING = ("0 workers", "1 worker")
SAVING = ("save, waiting for the disk", "save, in the background")


@dataclass
class Row:
    """A cell, the code it runs with, and the best seconds and the peak MB of each round."""

    what: str
    code: Path = ROOT
    seconds: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    def measure(self, repeats: int, out: Path | str = "") -> None:
        """Once more, in a new process with one thread."""
        path = os.pathsep.join(map(str, (self.code / "plugins", self.code)))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": path}
        command = [sys.executable, str(Path(__file__).with_name("s2m2_cell.py")), self.what, str(repeats), str(out)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{self.what}: the process ended with {done.returncode}")
        found = json.loads(done.stdout.splitlines()[-1])
        self.seconds.append(min(found["seconds"]))
        self.peaks.append(found["peak"])


def checked_out(revision: str, folder: Path) -> Path:
    """The code of a revision, unpacked in `folder`."""
    archive = folder / "code.tar"
    subprocess.run(["git", "archive", "-o", archive, revision, "engine", "plugins/engine_s2m2"], cwd=ROOT, check=True)
    code = folder / "code"
    code.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", code], check=True)
    return code


def measured(rows: Sequence[Row], rounds: int, repeats: int) -> None:
    """Every row once a round, in turn, so that what else the machine does meets all of them."""
    for number in range(rounds):
        for row in rows:
            row.measure(repeats)
        print(f"round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)


def table(rows: Sequence[Row], names: Mapping[str, str]) -> str:
    """Medians, and the ratios of the first row's seconds to each row's in the same round."""
    lines = ["| | seconds | times as fast as the first | peak MB |", "|---|---|---|---|"]
    for row in rows:
        ratios = [first / mine for first, mine in zip(rows[0].seconds, row.seconds, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        name = names.get(str(row.code), row.what)
        middle = statistics.median(row.seconds)
        lines.append(f"| {name} | {middle:.3g} | {ratio} | {statistics.median(row.peaks):.0f} |")
    return "\n".join(lines)


def difference(rows: Sequence[Row], folder: Path) -> str:
    """How far the outputs, or the gradients, of two versions are apart."""
    found = []
    for number, row in enumerate(rows):
        row.measure(1, folder / f"{number}.pt")
        found.append(torch.load(folder / f"{number}.pt"))
        row.seconds.clear(), row.peaks.clear()
    if isinstance(found[0], dict):
        worst = max(float((found[1][name] - old).abs().max() / old.abs().max()) for name, old in found[0].items())
        return f"Gradients differ by at most {worst:.1e} of the greatest of their tensor."
    apart = [float((new - old).abs().max()) for old, new in zip(*found, strict=True)]
    return f"Disparities differ by at most {apart[0]:.1e} px, visibilities and confidences by {max(apart[1:]):.1e}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", default="032954d", help="the revision to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="calls of a process; the best of them counts")
    parser.add_argument(
        "--only", choices=("versions", "switches", "compiled", "loading", "saving"), help="one of the tables"
    )
    parser.add_argument("--write", type=Path, help="a page with marks to write the tables into")
    options = parser.parse_args()
    parts, begun = [], os.getloadavg()[0]
    if options.only in (None, "versions"):
        with tempfile.TemporaryDirectory(prefix="bench-s2m2-") as name:
            old = checked_out(options.before, Path(name))
            names = {str(old): options.before, str(ROOT): "this version"}
            for what in VERSIONS:
                rows = [Row(what, old), Row(what)]
                same = difference(rows, Path(name))
                measured(rows, options.rounds, options.repeats)
                parts.append(f"### {what.capitalize()}\n\n{table(rows, names)}\n\n{same}")
    for key, title, cells, repeats in (
        ("switches", "A training step of size S", SWITCHES, options.repeats),
        ("compiled", "The same step compiled, once that is done", COMPILED, options.repeats),
        ("loading", "A training step of size nano, waiting for its batch included", LOADING, 5 * options.repeats),
        ("saving", "The worst of fifty short steps, one of which saves 200 MB", SAVING, options.repeats),
    ):
        if options.only in (None, key):
            rows = [Row(what) for what in cells]
            measured(rows, options.rounds, repeats)
            parts.append(f"### {title}\n\n{table(rows, {})}")
    about = (
        f"One pair of 512 x 256 px, one thread, a process for each figure; medians of {options.rounds} rounds, in each "
        f"of which the fastest of {options.repeats} or more calls counts; ratios within a round, the median and the "
        f"range. Peak memory is the process's, weights and libraries included. {platform.machine()}, "
        f"{os.cpu_count()} processors, load average {begun:.1f} at the start and {os.getloadavg()[0]:.1f} at the end. "
        f"Python {platform.python_version()}, torch {importlib.metadata.version('torch')}, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    text = "\n\n".join([about, *parts])
    print(text)
    if options.write:
        options.write.write_text(replaced(options.write.read_text(), "bench-s2m2", text))


if __name__ == "__main__":
    main()

"""Microseconds a step over a plain loop, of this engine and of other trainers, in paired rounds, as two tables.

python benchmarks/step/measure.py --write docs/bench.md
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import pty
import statistics
import struct
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what all measurements share

from page import replaced  # found by the line above
from serving import Server
from work import BARE, BATCH, FIGURES, FIRST, LAST, PLAIN_STEPS, SHIPPED, WIDTH, WINDOW

HERE = Path(__file__).parent
SAME_WORK = 1e-3
"""Relative difference of the summed weights that passes for the same work: a trainer may be a step ahead of another."""
LIMITS = {BARE: 5.0, SHIPPED: 25.0}
"""Microseconds over the plain loop that this engine may take."""


@dataclass(frozen=True)
class Row:
    """A script with one of its settings. on: what is switched on. contest: the setting in which it is compared."""

    trainer: str
    script: str
    setting: str
    on: str
    contest: str | None = None

    @property
    def name(self) -> str:
        return f"{self.trainer}, {self.setting}"


PLAIN = Row("plain loop", "plain.py", BARE, "forward, backward, optimiser, zero_grad")
OURS = "this engine"
ROWS = (
    PLAIN,
    Row(OURS, "ours.py", BARE, "freeze and its proof, schedule, stop on a signal", BARE),
    Row(
        OURS,
        "ours.py",
        SHIPPED,
        "`engine run`: also progress, events every 10 steps, NaN guard, clipping, five listening plugins",
        SHIPPED,
    ),
    Row(OURS, "ours.py", "as shipped, every step clipped", "the same, and no gradient within the bound"),
    Row("ignite", "peer_ignite.py", BARE, "create_supervised_trainer", BARE),
    Row("ignite", "peer_ignite.py", SHIPPED, "also progress and TerminateOnNan", SHIPPED),
    Row("Lightning Fabric", "peer_fabric.py", SHIPPED, "its strategy and precision; the loop is the user's"),
    Row("accelerate", "peer_accelerate.py", BARE, "prepare and backward; the loop is the user's"),
    Row("accelerate", "peer_accelerate.py", SHIPPED, "also accumulate and a scheduler"),
    Row("MMEngine", "peer_mmengine.py", BARE, "Runner without hooks", BARE),
    Row(
        "MMEngine", "peer_mmengine.py", SHIPPED, "also its default hooks: log every 10 steps, timer, schedule", SHIPPED
    ),
    Row("Lightning Trainer", "peer_lightning.py", BARE, "barebones=True", BARE),
    Row("Lightning Trainer", "peer_lightning.py", SHIPPED, "defaults: progress, logger; the loss logged", SHIPPED),
    Row("Hugging Face Trainer", "peer_transformers.py", BARE, "progress, logging, clipping and NaN filter off", BARE),
    Row("Hugging Face Trainer", "peer_transformers.py", SHIPPED, "defaults: these, and a schedule", SHIPPED),
    Row("plain loop", "plain.py", "default optimiser", "AdamW as torch makes it, not fused"),
)
TREES = (1000, 3000)
RUNS, TREE_ROUNDS = 3, 3
"""Runs of a cell in a round; with the larger trees one, in fewer rounds: some trainers take 20 ms a step there."""


def in_tree(row: Row) -> bool:
    """Whether a row is measured with larger trees too: the plain loop, this engine, and others as shipped."""
    return row == PLAIN or (row.trainer == OURS and row.contest is not None) or row.contest == SHIPPED


class Measurement:
    """Figures by (row, modules), one of each a round."""

    def __init__(self, rows: Sequence[Row], trees: Sequence[int], folder: Path) -> None:
        self.rows, self.folder = rows, folder
        self.cells = [(row, modules) for modules in (0, *trees) for row in rows if modules == 0 or in_tree(row)]
        self.figures: dict[tuple[Row, int], list[dict[str, Any]]] = {cell: [] for cell in self.cells}

    def make(self, rounds: int) -> None:
        """Every cell once a round, in turn."""
        with ExitStack() as stack, terminal() as said:
            scripts = dict.fromkeys(row.script for row in self.rows)
            environment = {"TERM": "xterm", "COLUMNS": "120", "PYTHONWARNINGS": "ignore"}
            servers = {
                name: stack.enter_context(Server(Path(sys.executable), HERE / name, environment)) for name in scripts
            }
            for number in range(rounds):
                for row, modules in self.cells:
                    if modules == 0 or number < TREE_ROUNDS:
                        runs = [
                            self._run(servers[row.script], row, modules, said) for _ in range(1 if modules else RUNS)
                        ]
                        multiple = statistics.median(each for run in runs for each in run["windows"])
                        self.figures[row, modules].append({**runs[-1], "multiple": multiple})
                print(f"round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)

    def _run(self, server: Server, row: Row, modules: int, said: Path) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            arguments = ["--setting", row.setting, "--modules", str(modules), "--folder", place]
            if server.run(arguments, said) != 0:
                raise SystemExit(f"{row.name} failed; python {HERE / row.script} {' '.join(arguments[:4])}")
            figures: dict[str, Any] = json.loads(Path(place, FIGURES).read_text())
            return figures

    @property
    def plain(self) -> float:
        """Microseconds of a plain step when the machine was at its fastest."""
        return min(each["plain"] for figures in self.figures.values() for each in figures)

    def over(self, row: Row, modules: int = 0) -> list[float]:
        """Microseconds a step over the plain loop of the same round and tree, at the machine's fastest."""
        pairs = zip(self.figures[row, modules], self.figures[PLAIN, modules], strict=True)
        return [(mine["multiple"] - plain["multiple"]) * self.plain for mine, plain in pairs]

    def check(self) -> None:
        """SystemExit where what should be the same work ended elsewhere."""
        expected = self.figures[PLAIN, 0][0]["weights"]
        for (row, _), figures in self.figures.items():
            for each in figures if row.contest == BARE else ():
                if abs(each["weights"] - expected) > SAME_WORK * expected:
                    raise SystemExit(f"{row.name} did other work: its weights sum to {each['weights']}, not {expected}")


@contextmanager
def terminal() -> Iterator[Path]:
    """A terminal of 120 columns that nobody looks at: progress is drawn where somebody might."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def drain() -> None:
        while os.read(ours, 1 << 16) != END:
            pass

    reading = threading.Thread(target=drain)
    reading.start()
    try:
        yield Path(os.ttyname(theirs))
    finally:
        termios.tcdrain(theirs)
        os.write(theirs, END)
        reading.join()
        os.close(theirs)
        os.close(ours)


END = b"\x04"


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):+.0f} ({min(values):+.0f} .. {max(values):+.0f})"


def steps_table(made: Measurement) -> list[str]:
    lines = ["| trainer | setting | us a step over plain | least | MB | what is on |", "|---|---|---|---|---|---|"]
    for row in made.rows:
        over, setting = made.over(row), row.setting
        told = [spread(over), f"{min(over):+.0f}"]
        if row == PLAIN:
            told, setting = [f"{made.plain:.0f} in all", ""], ""
        megabytes = max(each["megabytes"] for each in made.figures[row, 0])
        lines.append(f"| {row.trainer} | {setting} | {' | '.join(told)} | {megabytes:.0f} | {row.on} |")
    return lines


def trees_table(made: Measurement, trees: Sequence[int]) -> list[str]:
    heads = " | ".join(f"{modules:,} modules" for modules in trees)
    lines = [f"| trainer | setting | 0 | {heads} |", "|---" * (3 + len(trees)) + "|"]
    for row in made.rows:
        if in_tree(row) and row != PLAIN:
            cells = " | ".join(spread(made.over(row, modules)) for modules in (0, *trees))
            lines.append(f"| {row.trainer} | {row.setting} | {cells} |")
    return lines


def verdicts(made: Measurement) -> list[str]:
    """Whether ours is the lowest of the trainers in every round, and within its limits."""
    lines = []
    for setting, limit in LIMITS.items():
        rivals = [row for row in made.rows if row.contest == setting]
        ours = [made.over(row) for row in rivals if row.trainer == OURS]
        others = [made.over(row) for row in rivals if row.trainer != OURS]
        if not ours or not others:
            continue
        won = sum(mine < min(theirs) for mine, *theirs in zip(ours[0], *others, strict=True))
        median = statistics.median(ours[0])
        within = "within" if median <= limit else "**beyond**"
        lines.append(
            f"- {setting}: this engine is the lowest of the trainers in {won} of {len(ours[0])} rounds; its median "
            f"{median:+.1f} us is {within} the {limit:.0f} us that it may take."
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="trainers whose name contains this, beside the plain loop")
    parser.add_argument("--trees", type=int, nargs="*", default=list(TREES), help="sizes of the larger trees")
    parser.add_argument("--write", type=Path, help="Markdown page to write the tables into, between its marks")
    asked = parser.parse_args()
    rows = [row for row in ROWS if row == PLAIN or asked.only.lower() in row.trainer.lower()]
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-step-") as folder:
        made = Measurement(rows, asked.trees, Path(folder))
        made.make(asked.rounds)
    made.check()
    told: Mapping[str, str] = {k: v for each in made.figures.values() for k, v in each[0]["versions"].items()}
    versions = ", ".join(f"{name} {number}" for name, number in told.items())
    text = [
        f"MLP {WIDTH}-{WIDTH}-1, batch {BATCH}, AdamW (fused, for all), batches ready in memory, one thread, one "
        f"process a run, on a terminal; from step {FIRST} to step {LAST:,}, of {RUNS} runs a round. A step is told as "
        f"a multiple of {PLAIN_STEPS} plain steps just before and after every {WINDOW}; the median of the multiples "
        f"stands for a round. Differences within each of {asked.rounds} rounds ({TREE_ROUNDS} with larger trees): the "
        "median and the range. MB: peak of the process, its imports included. "
        f"{platform.machine()}, {os.cpu_count()} processors, load average {before:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end. "
        f"Python {platform.python_version()}, {versions}.",
        "",
        *steps_table(made),
        "",
        *verdicts(made),
    ]
    if asked.trees:
        text += ["", "With more modules in the tree, which no step calls:", "", *trees_table(made, asked.trees)]
    print("\n".join(text))
    if asked.write:
        asked.write.write_text(replaced(asked.write.read_text(), "bench-step", "\n".join(text)))


if __name__ == "__main__":
    main()

"""Does a lower precision learn as well? python benchmarks/checkouts/precision.py RECIPE --checkout FOLDER.

The same short training in each precision, from the same weights on the same batches: its loss at the beginning and at
the end, how far its curve lies from that of float32, and the held-out error. The last row is float32 with a rate that
is a thousandth higher: training repeats no curve exactly, and less than this is no effect of the precision.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import engine
from engine.errors import InputError


class Course(NamedTuple):
    """The loss of every step, and the held-out EPE before and after, px."""

    losses: list[float]
    before: float
    after: float


def course(recipe: Path, runs: Path, sets: Sequence[str]) -> Course:
    """One training; InputError where the network refuses its precision."""
    run = engine.run(engine.load_recipe(recipe, [*sets, "train.log_every=1"]), runs=runs, fresh=True)
    events: list[dict[str, Any]] = [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]
    errors = {
        row["moment"]: row["mean"]["epe/all"] for row in json.loads((run.path / "status.json").read_text())["rows"]
    }
    losses = [event["loss"] for event in events if event["event"] == "step"]
    return Course(losses, errors["before"], errors["after"])


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Mean difference of two curves, % of the first."""
    return 100 * statistics.mean(abs(b - a) / a for a, b in zip(one, other, strict=True))


def row(name: str, found: Course, exact: Course) -> str:
    fifth = max(len(found.losses) // 5, 1)
    first, last = (statistics.mean(part) for part in (found.losses[:fifth], found.losses[-fifth:]))
    figures = f"{first:.2f} | {last:.2f} | {apart(exact.losses, found.losses):.2g}"
    return f"| {name} | {figures} | {found.before:.2f} | {found.after:.2f} |"


def measure(recipe: Path, runs: Path, precisions: Sequence[str], sets: Sequence[str]) -> list[str]:
    """The rows of a Markdown table, float32 first."""
    head = "| precision | loss, first fifth | last fifth | apart from fp32, % | held-out EPE px before | after |"
    exact = course(recipe, runs, [*sets, "train.precision=fp32"])
    rows = [head, f"|{'---|' * 6}", row("fp32", exact, exact)]
    for precision in precisions:
        try:
            rows.append(row(precision, course(recipe, runs, [*sets, f"train.precision={precision}"]), exact))
        except InputError as refused:
            rows.append(f"| {precision} | refused: {refused} | | | | |")
    rate = engine.load_recipe(recipe, sets).stages[0].train.optimizer.lr
    near = course(recipe, runs, [*sets, f"train.optimizer.lr={1.001 * rate}"])
    return [*rows, row("fp32, rate + 0.1 %", near, exact)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp16"])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    sets = [f"model.checkout={asked.checkout.absolute()}", *asked.sets]
    print(*measure(asked.recipe, asked.runs, asked.precisions, sets), sep="\n")


if __name__ == "__main__":
    main()

"""Does the moving average steady the error? python benchmarks/checkouts/average.py --checkout FOLDER.

One run of recipes/foundation_stereo_tiny.toml, with a checkpoint every few steps. The last k of them are measured
twice, with the weights as they were trained and with their moving average, on the same held-out scenes: EPE of each,
mean, variance, and the largest change from one to the next.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import engine

RECIPE = Path(__file__).parents[2] / "recipes" / "foundation_stereo_tiny.toml"
FILES = {"as trained": "weights.safetensors", "moving average": "average.safetensors"}


def measure(recipe: Path, runs: Path, every: int, last: int, sets: Sequence[str]) -> list[str]:
    """The rows of a Markdown table."""
    asked = engine.load_recipe(recipe, [*sets, f"train.checkpoint_every={every}", f"train.keep={last}"])
    run = engine.run(asked, runs=runs, fresh=True)
    (stage,) = run.path.glob("stage-*")
    folders = sorted((stage / "checkpoints").glob("step-*"))[-last:]
    steps = ", ".join(str(int(folder.name.removeprefix("step-"))) for folder in folders)
    rows = [f"| EPE px at steps {steps} | each | mean | variance | largest change |", "|---|---|---|---|---|"]
    for name, file in FILES.items():
        errors = [engine.evaluate(asked, weights=folder / file).mean["epe/all"] for folder in folders]
        change = max(abs(after - before) for before, after in pairwise(errors))
        each, spread = ", ".join(f"{error:.2f}" for error in errors), statistics.variance(errors)
        rows.append(f"| {name} | {each} | {statistics.mean(errors):.2f} | {spread:.4f} | {change:.2f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--every", type=int, default=3, help="steps between two checkpoints")
    parser.add_argument("--last", type=int, default=8, help="checkpoints that are measured")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    sets = [f"model.checkout={asked.checkout.absolute()}", *asked.sets]
    print(*measure(RECIPE, asked.runs, asked.every, asked.last, sets), sep="\n")


if __name__ == "__main__":
    main()

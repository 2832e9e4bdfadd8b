"""The same small training with other losses, one table: python benchmarks/checkouts/losses.py --checkout FOLDER.

Every row is recipes/foundation_stereo_tiny.toml with one choice changed, run by the command line; the runs stay in
--runs, where `engine runs compare` sets them side by side, sample by sample. EPE is of the moving average, on held-out
scenes; several seeds tell how much of a difference is chance.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "recipes" / "foundation_stereo_tiny.toml"
INITIAL, SEQUENCE = {"name": "initial_disparity"}, {"name": "sequence", "gamma": 0.9}

CHOICES: Mapping[str, tuple[str, list[Mapping[str, object]]]] = {
    "the paper's": ("weights 0.9^(n-1-i), first estimate at a quarter", [INITIAL, SEQUENCE]),
    "RAFT-Stereo's rule": ("weights", [INITIAL, {**SEQUENCE, "rule": "spread"}]),
    "equal weights": ("weights", [INITIAL, {**SEQUENCE, "gamma": 1.0}]),
    "first estimate at full size": ("mismatch of sizes", [{**INITIAL, "at": "full"}, SEQUENCE]),
    "smooth L1 everywhere": ("distance", [INITIAL, {**SEQUENCE, "beta": 1.0}]),
    "with edges": ("complementary loss", [INITIAL, SEQUENCE, {"name": "disparity_edges", "weight": 0.2}]),
}
"""Name -> what is changed, and the losses."""


def measure(recipe: Path, runs: Path, choices: Sequence[str], seeds: Sequence[int], sets: Sequence[str]) -> list[str]:
    """The rows of a Markdown table, the first choice first."""
    rows = ["| losses | what is changed | EPE px before | after, each seed | mean | bad-2 % |", f"|{'---|' * 6}"]
    for choice in choices:
        what, losses = CHOICES[choice]
        ends = [one(recipe, runs, losses, seed, sets) for seed in seeds]
        after = [end["after"]["epe/all"] for end in ends]
        before = statistics.mean(end["before"]["epe/all"] for end in ends)
        bad = statistics.mean(end["after"]["bad2/all"] for end in ends)
        each = ", ".join(f"{value:.2f}" for value in after)
        rows.append(f"| {choice} | {what} | {before:.2f} | {each} | {statistics.mean(after):.2f} | {bad:.0f} |")
        print(rows[-1], flush=True)
    return rows


def one(
    recipe: Path, runs: Path, losses: Sequence[Mapping[str, object]], seed: int, sets: Sequence[str]
) -> dict[str, Mapping[str, float]]:
    """The figures before and after one training; SystemExit with its words where that fails."""
    tables = ", ".join("{" + ", ".join(f"{key} = {json.dumps(each[key])}" for key in each) + "}" for each in losses)
    values = [*sets, f"train.losses=[{tables}]", f"seed={seed}"]
    words = [word for value in values for word in ("--set", value)]
    had = set(runs.glob("*/*"))
    done = subprocess.run(
        [sys.executable, "-m", "engine", "run", str(recipe), "--fresh", "--quiet", "--runs", str(runs), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    (run,) = set(runs.glob("*/*")) - had
    return {row["moment"]: row["mean"] for row in json.loads((run / "status.json").read_text())["rows"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--choices", nargs="+", default=list(CHOICES), choices=list(CHOICES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    sets = [f"model.checkout={asked.checkout.absolute()}", *asked.sets]
    print("\n", *measure(RECIPE, asked.runs, asked.choices, asked.seeds, sets), sep="\n")


if __name__ == "__main__":
    main()

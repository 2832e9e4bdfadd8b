"""The held-out error against the number of labelled pairs, for several choices of them, as a table and a curve.

    OMP_NUM_THREADS=1 nice python benchmarks/few_pairs.py --results runs/few --write docs/few_labels.md \
        --draw docs/pictures/few_pairs.png

Every run is `engine run recipes/few_pairs.toml` with k and a seed of its own; what it prints is kept in --results, and
what is there already, with the same k, seed and --set, is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

from page import replaced

RECIPE = Path(__file__).parents[1] / "recipes" / "few_pairs.toml"
COLUMNS = ("epe/all", "epe/noc", "bad2/all")


def measured(results: Path, pairs: int, seed: int, more: list[str]) -> list[dict[str, Any]]:
    """The rows of the run's table: before and after."""
    changed = f"-{zlib.crc32(json.dumps(more).encode()):08x}" if more else ""
    kept = results / f"k{pairs}-s{seed}{changed}.json"
    if not kept.exists():
        changes = [f"data.train.of.count={pairs}", f"data.train.of.seed={seed}", f"seed={seed}", *more]
        words = [sys.executable, "-m", "engine", "run", str(RECIPE), "--runs", str(results / "runs"), "--json"]
        for change in changes:
            words += ["--set", change]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        kept.write_text(done.stdout)
        print(f"k = {pairs}, seed {seed}: done, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    rows: list[dict[str, Any]] = json.loads(kept.read_text())["rows"]
    return rows


def table(found: dict[int, list[dict[str, float]]], seeds: list[int]) -> str:
    """A row for each k: the mean over seeds, and each seed's own."""
    lines = [
        "| labelled pairs | " + " | ".join(COLUMNS) + f" | epe/all of seeds {', '.join(map(str, seeds))} |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for pairs, figures in found.items():
        means = [f"{statistics.mean(each[name] for each in figures):.3f}" for name in COLUMNS]
        own = ", ".join(f"{each['epe/all']:.3f}" for each in figures)
        lines.append(f"| {pairs} | {' | '.join(means)} | {own} |")
    return "\n".join(lines)


def draw(found: dict[int, list[dict[str, float]]], path: Path) -> None:
    """The curve: a point for each seed, a line through their means, and the start, at 0 pairs."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3), layout="constrained")
    trained = {pairs: [each["epe/all"] for each in figures] for pairs, figures in found.items() if pairs}
    axes.axhline(found[0][0]["epe/all"], color="grey", linestyle="dashed", label="no pair: the pretrained network")
    axes.plot(
        list(trained), [statistics.mean(each) for each in trained.values()], color="tab:blue", label="mean over seeds"
    )
    for pairs, each in trained.items():
        axes.plot([pairs] * len(each), each, "o", color="tab:blue", markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(trained), [str(pairs) for pairs in trained])
    axes.set(xlabel="labelled pairs", ylabel="held-out EPE, px")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--results", type=Path, required=True, help="where runs and their figures are kept")
    parser.add_argument("--set", dest="more", action="append", default=[], help="of every run, as of `engine run`")
    parser.add_argument("--write", type=Path, help="a page with marks to write the table into")
    parser.add_argument("--draw", type=Path, help="a picture to draw the curve into")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    found: dict[int, list[dict[str, float]]] = {}
    for pairs in options.counts:
        for seed in options.seeds:
            before, after = (row["mean"] for row in measured(options.results, pairs, seed, options.more))
            found.setdefault(0, [before])
            found.setdefault(pairs, []).append(after)
    text = table(found, options.seeds)
    print(text)
    if options.write:
        options.write.write_text(replaced(options.write.read_text(), "few-pairs", text))
    if options.draw:
        draw(found, options.draw)


if __name__ == "__main__":
    main()

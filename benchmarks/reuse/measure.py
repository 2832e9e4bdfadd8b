"""What it costs to run a recipe again after its last stage has changed, beyond the time of that stage itself.

    OMP_NUM_THREADS=1 python benchmarks/reuse/measure.py recipes/s2m2_pol.toml --rounds 7 --set stage.A.steps=4

Every round is a new process with another learning rate of the last stage; the first run, which trains all stages, is
not counted. The stage's own time is the one in its record: from its start to the weights that it hands on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

PARTS = ("start, imports, checks", "keys, data, taking over", "last stage", "final table, end", "beyond the last stage")


def main() -> None:
    asked = _arguments()
    last = tomllib.loads(asked.recipe.read_text())["stage"][-1]["name"]
    with tempfile.TemporaryDirectory() as folder:
        _run(asked, Path(folder), [])
        rounds = []
        for number in range(asked.rounds):
            change = [f"stage.{last}.optimizer.lr={1e-5 * (number + 1):g}"]
            rounds.append(_measured(asked, Path(folder), change, last))
    print(f"{asked.recipe.name}, stage {last} changed, {asked.rounds} rounds, seconds")
    print(f"{'':28}{'median':>9}{'min':>9}{'max':>9}")
    for name, figures in zip(PARTS, zip(*rounds, strict=True), strict=True):
        print(f"{name:28}{statistics.median(figures):9.2f}{min(figures):9.2f}{max(figures):9.2f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    return parser.parse_args()


def _run(asked: argparse.Namespace, runs: Path, more: list[str]) -> Path:
    words = [sys.executable, "-m", "engine", "run", str(asked.recipe), "--runs", str(runs), "--json"]
    for change in [*asked.overrides, *more]:
        words += ["--set", change]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return Path(json.loads(done.stdout)["run"])


def _measured(asked: argparse.Namespace, runs: Path, change: list[str], last: str) -> list[float]:
    """Seconds of each of PARTS; the last one is all that is not the last stage."""
    began = time.time()
    run = _run(asked, runs, change)
    ended = time.time()
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    trained = [event["name"] for event in events if event["event"] == "stage_started"]
    if trained != [last]:
        sys.exit(f"stages {trained} were trained, expected {last} alone")
    at: dict[str, Any] = {event["event"]: event["time"] for event in events}
    stage = json.loads((run / f"stage-{last}" / "record.json").read_text())["seconds"]
    parts = [at["run_started"] - began, at["stage_started"] - at["run_started"], stage, ended - at["stage_finished"]]
    return [*parts, ended - began - stage]


if __name__ == "__main__":
    main()

"""The table of docs/examples/digits.md: the example with three seeds, and what it is to be compared with.

python docs/examples/digits/measure.py
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import engine

RECIPE = Path(__file__).with_name("digits.toml")
SEEDS = (0, 1, 2)
GO_ON = 'stage.B.gate.margin.on_fail="warn"'  # also where the gate says no: what would have come of it?


def main() -> None:
    """Print the accuracy on held-out digits, in percent, for each seed."""
    table: dict[str, list[float]] = defaultdict(list)
    for seed in SEEDS:
        for bound in (0.5, 2.0):
            recipe = engine.load_recipe(RECIPE, [f"seed={seed}", f"injection.bound={bound}", GO_ON])
            run = engine.run(recipe)
            for row in run.rows:
                name = f"{row['moment']} {row['stage']}, aligned by {row['warp']}, bound {bound}"
                table[name].append(row["mean"]["wrong"])
                if row["base"]:
                    table[f"{name}: base alone"].append(row["base"]["wrong"])
            for stage in "BC":
                shuffled = engine.evaluate(recipe, weights=run.path / f"stage-{stage}", ablation="shuffle")
                table[f"after {stage}, bound {bound}: mat of another sheet"].append(shuffled.mean["wrong"])
            for gate in run.gates:
                if gate["stage"] == "B":
                    print(f"seed {seed}: {gate['status']}, {gate['reason']}; needed {gate['figures']['bound needed']}")
        longer = engine.run(engine.load_recipe(RECIPE, [f"seed={seed}", "stage.A.steps=1400", *_only_a()]))
        table["after A of 1400 steps"].append(longer.rows[-1]["mean"]["wrong"])
    for name, wrong in table.items():
        print(f"{name}: {_percent(wrong)}")


def _only_a() -> Sequence[str]:
    """Settings that leave the later stages next to nothing to do."""
    return (GO_ON, "stage.B.steps=1", "stage.C.steps=1")


def _percent(wrong: Sequence[float]) -> str:
    return " / ".join(f"{100 * (1 - share):.1f}" for share in wrong)


if __name__ == "__main__":
    main()

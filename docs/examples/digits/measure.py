"""The table of docs/examples/digits.md: how many held-out digits are read right, for three seeds.

python docs/examples/digits/measure.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import engine

RECIPE = Path(__file__).with_name("digits.toml")
SEEDS = (0, 1, 2)
BOUNDS = (2.0, 0.5)
GO_ON = 'stage.B.gate.margin.on_fail="warn"'  # also where the gate says no: what would have come of it?
LONGER = ("stage.A.steps=1400", "stage.B.steps=1", "stage.C.steps=1")
WORDS = {"off": "no correction", "gt": "true angle", "pred": "angle as read"}

Table = dict[tuple[str, str], list[float]]
"""(what was measured, how) -> the share of digits that are read right, one a seed."""


def measured(seeds: Sequence[int], settings: Sequence[str] = ()) -> Table:
    """Run the recipe with each bound and seed, and the base alone for as many steps as all stages have."""
    table: Table = {}

    def note(what: str, how: str, wrong: float) -> None:
        table.setdefault((what, how), []).append(1 - wrong)

    for seed in seeds:
        for bound in BOUNDS:
            recipe = engine.load_recipe(RECIPE, [*settings, f"seed={seed}", f"injection.bound={bound}", GO_ON])
            run = engine.run(recipe)
            for row in run.rows:
                of = "" if row["warp"] == "off" else f", bound {bound:g}"
                if of or bound == BOUNDS[0]:  # without a correction its bound is nothing
                    note(f"{row['moment']} {row['stage']}{of}", WORDS[row["warp"]], row["mean"]["wrong"])
            for stage in "BC":
                of = f"after {stage}, bound {bound:g}"
                shuffled = engine.evaluate(recipe, weights=run.path / f"stage-{stage}", ablation="shuffle")
                note(of, "angle as read, mat of another sheet", shuffled.mean["wrong"])
                if stage == "C":
                    note(of, "the base alone", shuffled.base_mean["wrong"])
        longer = engine.run(engine.load_recipe(RECIPE, [*LONGER, *settings, f"seed={seed}", GO_ON]))
        note("after 1400 steps of A", "no correction", longer.stages[0].rows[-1]["mean"]["wrong"])
    return table


def main() -> None:
    """Print the table."""
    for (what, how), right in measured(SEEDS).items():
        print(f"| {what} | {how} | {' / '.join(f'{100 * share:.1f}' for share in right)} |")


if __name__ == "__main__":
    main()

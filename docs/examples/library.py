"""The engine from Python: plan, train, judge and measure, in a minute on a CPU.

python docs/examples/library.py
"""

from __future__ import annotations

from pathlib import Path

import engine
from engine import events
from engine.gates.feasibility import FeasibilityReport

RECIPE = Path(__file__).parents[2] / "recipes" / "s2m2_pol.toml"

# Eight scenes of 64 x 96 pixels and a few steps: enough to see every part at work, and too little to learn anything.
SMALL = [
    *(f"data.{split}.{side}" for split in ("train", "val") for side in ("height=64", "width=96")),
    "data.train.count=4",
    "data.val.count=3",
    "data.train.crop=[64, 96]",
    "train.batch_size=2",
    "stage.B.batch_size=2",
    *(f"stage.{name}.steps=2" for name in "ABC"),
    'stage.B.gate.feasibility.accept=["warn", "undetermined"]',  # three scenes are too few for a verdict
]


def tell(event: object) -> None:
    """A listener hears every event, and picks what it cares for."""
    if isinstance(event, events.Evaluated):
        print(f"  {event.stage} {event.moment}, aligned by {event.warp}: {event.evaluation.mean['epe/all']:.2f} px")
    if isinstance(event, events.GateDecided):
        print(f"  gate {event.check} of {event.stage}: {event.verdict.status}, {event.action}")


def main() -> None:
    """Plan, run, then ask the run's weights."""
    recipe = engine.load_recipe(RECIPE, SMALL)
    for stage in engine.plan(recipe).stages:
        print(f"stage {stage.name}: {stage.steps} steps, {stage.trainable_parameters:,} parameters train")

    done = engine.run(recipe, listener=tell)
    print(f"{done.name} is {done.state}, its stages are {[stage.state for stage in done.stages]}")

    report = engine.check_feasibility(recipe, stage="B", weights=done.path / "stage-A")
    assert isinstance(report, FeasibilityReport)  # another gate on feasibility would give its verdict
    print(f"feasible: {report.status}; base error {report.figures.equal.error:.2f} px")

    for ablation in ("none", "shuffle"):
        measured = engine.evaluate(recipe, weights=done.path, ablation=ablation)
        print(
            f"signal {ablation}: {measured.mean['epe/all']:.4f} px, the base alone {measured.base_mean['epe/all']:.4f}"
        )


if __name__ == "__main__":
    main()

"""The measured outcomes as one Markdown table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from compare import Outcome
from work import STOPS


@dataclass(frozen=True)
class Row:
    """One trainer, variant and number of workers; repeats: whether two untouched runs agree bit for bit."""

    trainer: str
    variant: str
    workers: int
    repeats: bool
    outcomes: Mapping[str, Outcome]

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Row:
        kept = json.loads(path.read_text())
        outcomes = {stop: Outcome(**outcome) for stop, outcome in kept.pop("outcomes").items()}
        return cls(**kept, outcomes=outcomes)


def in_words(outcome: Outcome | None) -> str:
    """An outcome in a cell of the table."""
    if outcome is None:
        return "-"
    if outcome.error:
        return outcome.error
    if outcome.identical:
        return f"**identical** ({outcome.start})"
    weights = "same weights" if outcome.same_weights else f"weights {outcome.weights:.0e}"
    if not outcome.made:
        return f"no step made, {weights}"
    samples = "" if outcome.same_samples else ", other samples"
    made = "" if outcome.made == outcome.steps else f", {outcome.made} steps in place of {outcome.steps}"
    return f"{outcome.same_losses}/{outcome.steps} losses, {weights}{samples}{made} ({outcome.start})"


def markdown(rows: Sequence[Row], versions: Mapping[str, Mapping[str, str]], machine: str) -> str:
    """Versions, a line a trainer with its number of identical cells, and the table of cells."""
    lines = [f"Measured on {machine}.", "", "| trainer | versions | identical |", "|---|---|---|"]
    for trainer, packages in versions.items():
        outcomes = [outcome for row in rows if row.trainer == trainer for outcome in row.outcomes.values()]
        named = ", ".join(f"{name} {number}" for name, number in packages.items())
        lines.append(f"| {trainer} | {named} | {sum(each.identical for each in outcomes)} of {len(outcomes)} |")
    lines += [
        "",
        "| trainer | random | workers | repeats | " + " | ".join(STOPS) + " |",
        "|---" * (4 + len(STOPS)) + "|",
    ]
    for row in rows:
        cells = [in_words(row.outcomes.get(stop)) for stop in STOPS]
        repeats = "yes" if row.repeats else "no"
        lines.append(f"| {row.trainer} | {row.variant} | {row.workers} | {repeats} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"

"""The figures of an evaluation as a CSV file, a row for each sample."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from engine.contracts import Evaluation
from engine.files import write_whole


def write_per_sample(path: Path, evaluation: Evaluation) -> None:
    """Write `id`, `scene`, every metric, and "base METRIC" for each that the base alone was measured in too.

    A metric that is not defined on a sample leaves its cell empty. WorldError where the file cannot be written.
    """
    columns = dict(evaluation.per_sample) | {f"base {name}": row for name, row in evaluation.base_per_sample.items()}

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "scene", *columns])
            for number, names in enumerate(zip(evaluation.ids, evaluation.scenes, strict=True)):
                figures = [values[number] for values in columns.values()]
                writer.writerow([*names, *("" if math.isnan(figure) else f"{figure:.6g}" for figure in figures)])

    write_whole(path, write)

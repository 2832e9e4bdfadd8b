"""`engine runs compare --html`: a comparison as one page that needs no network, no server and no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from engine.files import write_whole
from engine.reporting.run_tables import ALIGNED, number, signed, when
from engine.reporting.words import OVERRIDDEN

FOLDER = Path(__file__).parent / "page"
WIDTH, HEIGHT, MARGIN = 300, 30, 6
"""Pixels of the picture of one row."""
_PLACE = itemgetter("stage", "moment", "warp", "ablation", "data")
DOTS = 300
"""The most samples that a row draws; of more, an even part from the lowest to the highest."""


def write_page(path: Path, comparison: Mapping[str, Any]) -> None:
    """Write what `engine.runs.comparison.Comparison.to_dict` gave; WorldError where the file cannot be written."""
    from jinja2 import Environment, FileSystemLoader

    pages = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters.update(number=number, signed=signed, when=when)
    content = pages.get_template("comparison.html").render(
        **comparison,
        places=[(place, [_drawn(row) for row in rows]) for place, rows in groupby(comparison["metrics"], _PLACE)],
        aligned=ALIGNED,
        overridden=OVERRIDDEN,
        style=(FOLDER / "comparison.css").read_text(encoding="utf-8"),
        width=WIDTH,
        height=HEIGHT,
    )
    write_whole(path, lambda partial: partial.write_text(content, encoding="utf-8"))


def _drawn(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row and where the differences of the samples, their mean and its interval stand: 0 in the middle."""
    found = sorted(row["differences"].items(), key=lambda item: item[1])
    reach = max(map(abs, row["differences"].values())) or 1.0

    def place(value: float) -> float:
        return round(WIDTH / 2 + value / reach * (WIDTH / 2 - MARGIN), 1)

    limits = (row["low"], row["high"]) if math.isfinite(row["low"]) else None
    picture = {
        "dots": [(place(value), name, signed(value)) for name, value in _even_part(found)],
        "mean": place(row["difference"]),
        "limits": limits and [place(limit) for limit in limits],
    }
    return {**row, "known": limits is not None, "picture": picture}


def _even_part(found: Sequence[tuple[str, float]]) -> Sequence[tuple[str, float]]:
    if len(found) <= DOTS:
        return found
    return [found[round(place * (len(found) - 1) / (DOTS - 1))] for place in range(DOTS)]

"""Examples left out because of what a network was measured to make of them.

FoundationStereo's authors drop a rendered pair on which more than 60 % of the pixels are off by over 2 px under the
current network, and render another in its place (Wen et al., CVPR 2025).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.errors import InputError, Problem, WorldError, nearest
from engine_stereo.data.options import CurateOptions

if TYPE_CHECKING:
    from engine_stereo.data.frames import Frame


def curated(frames: Sequence[Frame], options: CurateOptions) -> list[Frame]:
    """The examples whose figure is at most what `options` say.

    InputError for a CSV without the column, for examples without a row in it, and where none are left; WorldError for
    one that is not there.
    """
    figures = _figures(options)
    unknown = [frame.id for frame in frames if frame.id not in figures]
    if unknown:
        what = f"{len(unknown)} of {len(frames)} examples have no row: {', '.join(unknown[:3])}"
        raise InputError(Problem(str(options.figures), what, "a row for each, as `engine eval --per-image` writes it"))
    kept = [frame for frame in frames if (figure := figures[frame.id]) is not None and figure <= options.most]
    if frames and not kept:
        what = f"all {len(frames)} examples have more than {options.most:g} in {options.column!r}"
        raise InputError(Problem(str(options.figures), what))
    return kept


def _figures(options: CurateOptions) -> dict[str, float | None]:
    """The figure of each example by id; None where it has none."""
    where = str(options.figures)
    try:
        with options.figures.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            names = list(rows.fieldnames or [])
            for needed in ("id", options.column):
                if needed not in names:
                    raise InputError(Problem(where, f"there is no column {needed!r}", near=nearest(needed, names)))
            return {row["id"]: _number(row[options.column], f"{where}:{rows.line_num}") for row in rows}
    except OSError as error:
        raise WorldError(f"{where} cannot be read: {error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(Problem(where, f"this is no CSV: {error}")) from error


def _number(text: str | None, where: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(Problem(where, f"{text!r} is no number")) from error

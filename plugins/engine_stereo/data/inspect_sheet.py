"""A sheet to look at: a row a sample, with what is stored beside how well it explains the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.contracts import Sample
from engine_stereo.data.damage import installed_with
from engine_stereo.data.inspect_photometry import AS_STORED, Hypothesis, error_map
from engine_stereo.pictures import Picture, aolp_picture, disparity_picture, gauge_picture

WIDTH, GAP, TITLE = 360, 8, 22
"""Pixels of a picture, between pictures, and of the line of text above each."""

SPARSE = 0.3
"""Share of known pixels below which each is drawn larger, so that the points of a laser can be seen."""

BRIGHT = 40.0
"""Grey levels at which a difference is drawn brightest: much more than noise."""


STRONG = 0.5
"""Degree of polarisation that is drawn brightest: few surfaces exceed it."""


@dataclass(frozen=True)
class Row:
    """A sample, and the disparity that explains it."""

    name: str
    sample: Sample
    explained: Hypothesis


def save_sheet(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG; WorldError without matplotlib, whose colours it uses, and Pillow."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise installed_with("stereo", "pictures are drawn with Pillow", error) from error

    pictures = [list(_pictures(row)) for row in rows]
    heights = [round(WIDTH * row.sample["left"].shape[1] / row.sample["left"].shape[2]) for row in rows]
    size = (WIDTH + GAP) * max(map(len, pictures)) + GAP, sum(heights) + (TITLE + GAP) * len(rows) + GAP
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    top = GAP
    for height, drawn in zip(heights, pictures, strict=True):
        for place, (title, picture) in enumerate(drawn):
            left = GAP + (WIDTH + GAP) * place
            while font.getlength(title) > WIDTH:
                title = "..." + title[4:]  # names begin with folders, and their ends tell samples apart
            pen.text((left, top), title, "black", font)
            sized = Image.fromarray(picture).resize((WIDTH, height), Image.Resampling.BOX)
            sheet.paste(sized, (left, top + TITLE))
            pen.rectangle((left - 1, top + TITLE - 1, left + WIDTH, top + TITLE + height), outline="silver")
        top += height + TITLE + GAP
    sheet.save(path)


def _pictures(row: Row) -> Iterator[tuple[str, Picture]]:
    sample = row.sample
    left, right = (np.asarray(sample[side], np.float32) for side in ("left", "right"))
    yield f"{row.name}: left", _shown(left)
    yield "right", _shown(right)
    if "disparity" in sample and "valid" in sample:
        disparity, valid = (np.asarray(sample[key])[0] for key in ("disparity", "valid"))
        known = disparity[valid & np.isfinite(disparity)]
        low, high = (float(each) for each in np.percentile(known, (1, 99))) if known.size else (0.0, 1.0)
        yield f"disparity, {low:.4g} to {high:.4g} px", disparity_picture(*_seen(disparity, valid), low, high)
        yield f"valid, {valid.mean():.0%}", np.repeat(np.where(valid, 255, 0).astype(np.uint8)[..., None], 3, 2)
        yield _difference("difference as stored", row, AS_STORED)
        if row.explained != AS_STORED:
            yield _difference(str(row.explained), row, row.explained)
    for side in ("left", "right"):
        vector = sample.get(f"polarization_{side}")
        if vector is not None:
            q, u = np.asarray(vector, np.float32)
            size = np.hypot(q, u)
            yield f"DoLP {side}, 0 to {STRONG}", gauge_picture(size / STRONG, size > 0)
            yield f"AoLP {side}, 0 to 180 degrees", aolp_picture(q, u)


def _difference(title: str, row: Row, hypothesis: Hypothesis) -> tuple[str, Picture]:
    left, right = (np.asarray(row.sample[side], np.float32) for side in ("left", "right"))
    disparity, valid = (np.asarray(row.sample[key])[0] for key in ("disparity", "valid"))
    difference, reached = error_map(left, right, disparity, hypothesis)
    seen = reached & valid
    mean = f", {difference[seen].mean():.3g} levels" if seen.any() else ", nothing to compare"
    return title + mean, gauge_picture(*_seen(difference / BRIGHT, seen))


def _seen(values: Any, known: Any) -> tuple[Any, Any]:
    """The same with every known pixel 3 x 3 pixels large, where they are few."""
    if known.mean() >= SPARSE:
        return values, known
    drawn, there = values.copy(), known.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            moved = np.roll(known, (down, right), (0, 1)) & ~there
            drawn[moved] = np.roll(values, (down, right), (0, 1))[moved]
            there |= moved
    return drawn, there


def _shown(view: Any) -> Picture:
    """Numbers that are no sRGB are drawn as they are: black where they are 0 to 1."""
    picture: Picture = np.nan_to_num(view).transpose(1, 2, 0).clip(0, 255).astype(np.uint8)
    return picture

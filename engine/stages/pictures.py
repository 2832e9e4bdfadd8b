"""A few held-out samples, always the same, as pictures before and after each stage: what a report compares."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import events
from engine.contracts import Picture
from engine.data.loader import as_source, collate, to_device
from engine.errors import DamagedDataError, EngineError, PluginError, WorldError
from engine.files import write_whole
from engine.png import png
from engine.reading import fields_of
from engine.registered import guarded
from engine.training.evaluate import evaluating

if TYPE_CHECKING:
    from engine.prediction import Batch, Prediction
    from engine.stages.session import Session
    from engine.system import System

SAMPLES = 4
"""As many as a reader looks at."""
LONGEST_SIDE = 256
"""Pixels; larger pictures are made smaller, so that those of a whole run fit into a page of 5 MB."""
INDEX = "index.json"


def keep_pictures(session: Session, system: System, inject: bool, folder: Path) -> None:
    """Draw the samples as the system answers them now, aligned by the prediction, into `folder`.

    A plugin that cannot draw costs a warning and no run. WorldError on a full disk.
    """
    drawers = [(name, session.plugins.get("pictures", name)) for name in session.plugins.names("pictures")]
    if not session.leads or not drawers:
        return
    samples = []
    try:
        built = [(str(registered), registered.build(registered.options())) for _, registered in drawers]
        for name, batch, prediction in _answered(session, system, inject):
            bound = system.corrector.bound if prediction.base is not None and system.corrector is not None else None
            drawn = [each for who, draw in built for each in _drawn(who, draw, batch, prediction, bound)]
            samples.append((name, [_smaller(each) for each in drawn]))
    except EngineError as error:
        session.emit(events.Note("warning", f"no pictures of held-out samples: {error}", {"folder": str(folder)}))
        return
    index = [{"id": name, "pictures": _written(folder, number, drawn)} for number, (name, drawn) in enumerate(samples)]
    text = json.dumps({"samples": index}, ensure_ascii=False)
    write_whole(folder / INDEX, lambda partial: partial.write_text(text, encoding="utf-8"))


def _answered(session: Session, system: System, inject: bool) -> Iterator[tuple[str, Batch, Prediction]]:
    """(name, batch of one, what the system answers) of samples that lie evenly in the validation data."""
    source = as_source(session.dataset("val"))
    count = len(source)
    for index in sorted({number * count // SAMPLES for number in range(SAMPLES)}):
        try:
            sample = source.sample(index, None)
        except DamagedDataError:  # told of where the data were measured
            continue
        batch = to_device(fields_of(collate([sample]), str(source)), session.device)
        with evaluating(system):
            prediction = system(batch, warp="pred", inject=inject)
        yield str(sample.get("id", index)), batch, prediction


def _drawn(who: str, draw: Any, batch: Batch, prediction: Prediction, bound: float | None) -> Sequence[Picture]:
    with guarded(f"{who} failed"):
        drawn = list(draw(batch, prediction, bound))
    for each in drawn:
        pixels = getattr(each, "pixels", None)
        if not isinstance(each, Picture) or pixels is None or pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
            raise PluginError(f"{who} drew {type(each).__name__}; expected a Picture with pixels (H, W, 3) uint8")
    return drawn


def _smaller(picture: Picture) -> Picture:
    """At most `LONGEST_SIDE` long: means of a photograph, every n-th pixel of colours that stand for numbers."""
    pixels = picture.pixels
    step = -(-max(pixels.shape[:2]) // LONGEST_SIDE)
    if step == 1:
        return picture
    if picture.scale:
        return replace(picture, pixels=pixels[step // 2 :: step, step // 2 :: step])
    height, width = (size // step for size in pixels.shape[:2])
    blocks = pixels[: height * step, : width * step].reshape(height, step, width, step, 3)
    return replace(picture, pixels=blocks.mean((1, 3)).round().astype(np.uint8))


def _written(folder: Path, number: int, drawn: Sequence[Picture]) -> list[dict[str, Any]]:
    index = []
    for place, picture in enumerate(drawn):
        file = f"{number}-{place}.png"
        try:  # not as a whole file each: to wait for the disk forty times would cost more than drawing
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(png(picture.pixels))
        except OSError as error:
            raise WorldError(f"{folder / file} could not be written: {error.strerror or error}") from error
        height, width = picture.pixels.shape[:2]
        about = {"name": picture.name, "note": picture.note, "scale": [list(each) for each in picture.scale]}
        index.append({**about, "file": file, "width": width, "height": height})
    return index

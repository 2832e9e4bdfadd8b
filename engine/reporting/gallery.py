"""The pictures of held-out samples that the stages of a run kept, for one page: each file once, within a limit."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.reporting.run_files import RunFiles
from engine.reporting.whole import holds

MOST_BYTES = 3_000_000
"""Of the pictures together: base64 makes 4 MB of them, and a report shall stay under 5."""
PICTURE: Mapping[str, type] = {"name": str, "note": str, "scale": list, "file": str, "width": int, "height": int}
MOMENTS = ("before", "after")


def gather_pictures(run: Path, stages: Sequence[str]) -> dict[str, Any]:
    """The moments at which pictures were kept, the samples with their pictures at each, and the files by digest.

    Samples that would make the page too large are left out, the last first; `note` then says so.
    """
    files = RunFiles(run)
    moments: list[str] = []
    samples: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for stage in stages:
        for moment in MOMENTS:
            kept = files.table(f"stage-{stage}", "pictures", moment, "index.json").get("samples")
            if not isinstance(kept, list) or not kept:
                continue
            moments.append(f"{moment} {stage}")
            folder = run / f"stage-{stage}" / "pictures" / moment
            for sample in kept:
                if not holds(sample, {"id": str, "pictures": list}):
                    continue
                drawn = [picture for picture in sample["pictures"] if holds(picture, PICTURE)]
                samples.setdefault(sample["id"], {})[moments[-1]] = drawn
                for picture in drawn:
                    picture["path"] = folder / Path(picture["file"]).name
    shown: list[dict[str, Any]] = []
    data: dict[str, str] = {}
    left_out = 0
    for name, of in samples.items():
        mine = _data(files, of)
        if sum(map(len, (data | mine).values())) > MOST_BYTES * 4 / 3:
            left_out += 1
            continue
        data |= mine
        shown.append({"id": name, "of": of})
    note = f"{left_out} samples are left out: their pictures are too large for this page" if left_out else ""
    seen = hashlib.sha256(" ".join([*moments, *data]).encode()).hexdigest()[:16]
    return {"moments": moments, "samples": shown, "data": data, "note": note, "version": seen}


def _data(files: RunFiles, of: Mapping[str, list[dict[str, Any]]]) -> dict[str, str]:
    """digest -> data URI of a sample's pictures, each of which is told its digest; missing files are left out."""
    data = {}
    for pictures in of.values():
        for picture in pictures:
            content = files.content(picture.pop("path"))
            picture["image"] = ""
            if content is None or not content.startswith(b"\x89PNG"):
                continue
            key = hashlib.sha256(content).hexdigest()[:16]
            picture["image"] = key
            data[key] = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return data

"""All that is known of a pair as files: numbers for programs, pictures for people, points for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.files import write_json
from engine.prediction import Batch, Prediction
from engine_stereo.cloud import points, write_ply
from engine_stereo.data.encodings import PRESETS, write_disparity
from engine_stereo.data.images import write_png
from engine_stereo.data.pfm import write_pfm
from engine_stereo.export_options import MapsOptions
from engine_stereo.exports import KITTI_MOST, as_numpy, file_below
from engine_stereo.pictures import disparity_picture, signed_picture

Map = NDArray[np.float32]


class Maps:
    """A folder for each pair; `docs/predict.md` lists the files in it."""

    def __init__(self, options: MapsOptions) -> None:
        self.min_confidence = options.min_confidence

    def __call__(self, prediction: Prediction, batch: Batch, folder: Path, seconds: float) -> None:
        """Write what a batch has; pixels without a finite disparity are unknown in all files."""
        for number, name in enumerate(batch["id"]):
            maps = {
                part: as_numpy(tensor[number, 0])
                for part in ("value", "confidence", "visibility", "correction")
                if (tensor := getattr(prediction, part)) is not None
            }
            place = file_below(folder / name, "about.json")
            about = {"seconds": seconds, **_disparity(place, maps["value"])}
            if "confidence" in maps:
                write_png(place.with_name("confidence.png"), _grey(maps["confidence"]))
            if "visibility" in maps:
                write_png(place.with_name("occlusion.png"), _grey(1 - maps["visibility"]))
            if "correction" in maps:
                about |= _correction(place, maps["correction"])
            if "focal" in batch:
                about |= self._cloud(place, maps, {key: _of(batch, key, number) for key in ("left", *_CAMERA)})
            write_json(place, about)

    def _cloud(self, place: Path, maps: dict[str, Map], known: dict[str, Any]) -> dict[str, Any]:
        """Write the pixels that are sure enough as points."""
        height, width = maps["value"].shape
        centre = known["centre"] if known["centre"] is not None else ((width - 1) / 2, (height - 1) / 2)
        figures = [float(known[key]) for key in ("focal", "baseline", "doffs")]
        cloud, told = points(maps["value"], *figures, (float(centre[0]), float(centre[1])))
        for part in ("confidence", "visibility"):
            if part in maps:
                told &= maps[part] >= self.min_confidence
        colour = np.clip(np.rint(known["left"].transpose(1, 2, 0)), 0, 255).astype(np.uint8)
        write_ply(place.with_name("cloud.ply"), cloud[told], colour[told])
        return {"points": int(told.sum())}


_CAMERA = ("focal", "baseline", "doffs", "centre")


def _of(batch: Batch, field: str, number: int) -> NDArray[Any] | None:
    """One sample's part of a field, None where the batch lacks it."""
    return as_numpy(batch[field][number]) if field in batch else None


def _disparity(place: Path, disparity: Map) -> dict[str, Any]:
    """Write the disparity three times; returns what its colours mean."""
    known = np.isfinite(disparity)
    sure = np.where(known, disparity, np.float32(0))
    write_disparity(place.with_name("disparity.pfm"), sure, known, PRESETS["middlebury"])
    write_disparity(place.with_name("disparity.png"), sure.clip(0, KITTI_MOST), known, PRESETS["kitti"])
    # Not the extremes: a few wild pixels would take all colours from the others.
    low, high = (float(end) for end in np.quantile(disparity[known], (0.01, 0.99))) if known.any() else (0.0, 1.0)
    write_png(place.with_name("disparity_colour.png"), disparity_picture(disparity, known, low, high))
    return {"disparity_colours_px": [low, high], "unknown_pixels": int((~known).sum())}


def _correction(place: Path, correction: Map) -> dict[str, Any]:
    """Write what the injection added; returns what its colours mean."""
    known = np.isfinite(correction)
    most = float(np.abs(correction[known]).max(initial=0))
    write_pfm(place.with_name("correction.pfm"), correction)
    write_png(place.with_name("correction_colour.png"), signed_picture(correction, most, known))
    return {"correction_colours_px": [-most, most]}


def _grey(share: Map) -> NDArray[np.uint8]:
    """A share as 0 to 255."""
    return np.rint(np.nan_to_num(share).clip(0, 1) * 255).astype(np.uint8)

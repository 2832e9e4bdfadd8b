"""Predicted disparity in the formats that benchmarks take, and its error as pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import InputError
from engine.prediction import Batch, Prediction
from engine_stereo.data.encodings import PRESETS, write_disparity
from engine_stereo.data.images import write_png
from engine_stereo.export_options import ErrorMapOptions, ETH3DOptions, KittiOptions, MiddleburyOptions
from engine_stereo.pictures import error_picture, kitti_error_picture

Map = NDArray[np.float32]

KITTI_MOST = (2**16 - 1) / 256  # px


class Kitti:
    """KITTI's submission: 16-bit PNG of 256 units a pixel, `disp_0/ID.png` for 2015, `ID.png` for 2012.

    0 would mean unknown, so what is less than half a unit is written as 1; what does not fit, as the nearest that does.
    """

    def __init__(self, options: KittiOptions) -> None:
        self.folder = "disp_0" if options.year == 2015 else ""

    def __call__(self, prediction: Prediction, batch: Batch, folder: Path, seconds: float) -> None:
        """Write the disparities of a batch."""
        for name, disparity, known in submitted(prediction, batch):
            path = file_below(folder / self.folder, f"{name}.png")
            write_disparity(path, disparity.clip(0, KITTI_MOST), known, PRESETS["kitti"])


class Middlebury:
    """The submission of Middlebury's version 3: `trainingH/ID/disp0METHOD.pfm` and `timeMETHOD.txt` in seconds."""

    def __init__(self, options: MiddleburyOptions) -> None:
        self.folder, self.method = f"{options.split}{options.resolution}", options.method

    def __call__(self, prediction: Prediction, batch: Batch, folder: Path, seconds: float) -> None:
        """Write the disparities of a batch."""
        for name, disparity, known in submitted(prediction, batch):
            path = file_below(folder / self.folder / name, f"disp0{self.method}.pfm")
            write_disparity(path, disparity, known, PRESETS["middlebury"])
            path.with_name(f"time{self.method}.txt").write_text(f"{seconds:.3f}\n")


class ETH3D:
    """ETH3D's submission for two views: `low_res_two_view/ID.pfm` and `ID.txt`, which says `runtime` and seconds."""

    def __init__(self, options: ETH3DOptions) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch, folder: Path, seconds: float) -> None:
        """Write the disparities of a batch."""
        for name, disparity, known in submitted(prediction, batch):
            path = file_below(folder / "low_res_two_view", f"{name}.pfm")
            write_disparity(path, disparity, known, PRESETS["eth3d"])
            path.with_suffix(".txt").write_text(f"runtime {seconds:.3f}\n")


class ErrorMaps:
    """The error of every pixel as `ID.png`, and of the base alone as `ID_base.png` where an injection corrects it."""

    def __init__(self, options: ErrorMapOptions) -> None:
        self.colours = options.colours

    def __call__(self, prediction: Prediction, batch: Batch, folder: Path, seconds: float) -> None:
        """Write the pictures of a batch; InputError where it has no ground truth."""
        if "disparity" not in batch:
            raise InputError("error maps need ground truth, and these data bring none")
        truth, valid = (batch[name][:, 0].cpu().numpy() for name in ("disparity", "valid"))
        parts = {"": prediction} | ({"_base": prediction.base} if prediction.base is not None else {})
        for suffix, part in parts.items():
            for number, estimate in enumerate(as_numpy(part.value[:, 0])):
                error = np.abs(estimate - truth[number])
                if self.colours == "kitti":
                    picture = kitti_error_picture(error, truth[number], valid[number])
                else:
                    picture = error_picture(error, valid[number])
                write_png(file_below(folder, f"{batch['id'][number]}{suffix}.png"), picture)


def submitted(prediction: Prediction, batch: Batch) -> Iterator[tuple[str, Map, NDArray[np.bool_]]]:
    """As `answers`, for what is held against truth at full size; InputError where the data are of another."""
    if "scale" in batch:
        raise InputError("disparity is exported at full resolution, and these data are scaled", "scale = 1")
    return answers(prediction, batch)


def answers(prediction: Prediction, batch: Batch) -> Iterator[tuple[str, Map, NDArray[np.bool_]]]:
    """(id, disparity (H, W) px of the sample, where it is finite) of each sample."""
    for name, disparity in zip(batch["id"], as_numpy(prediction.value[:, 0]), strict=True):
        known = np.isfinite(disparity)
        yield name, np.where(known, disparity, np.float32(0)), known


def as_numpy(values: Tensor) -> NDArray[Any]:
    """The same numbers, float32."""
    return values.detach().float().cpu().numpy()


def file_below(folder: Path, name: str) -> Path:
    """A place for a file below `folder`; InputError for an id that leads out of it."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the id of a sample leads out of the folder: {name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

"""The files of one example as arrays, and the arrays of an example scaled and cropped together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contracts import Sample
from engine.errors import DamagedDataError, InputError, Problem
from engine_stereo.data.damage import installed_with
from engine_stereo.data.encodings import read_disparity
from engine_stereo.data.frames import Frame, MaskFile
from engine_stereo.data.images import read_image, read_mask
from engine_stereo.data.options import PolarimetryOptions
from engine_stereo.data.polarimetry import intensities
from engine_stereo.data.polarimetry import read as read_polarization

Array = NDArray[Any]

# Pixels of these may be averaged: of everything else a mean is wrong, such as a depth on neither side of an edge.
_SMOOTH = {
    "left": (0.0, 255.0),
    "right": (0.0, 255.0),
    "polarization_left": (-1.0, 1.0),
    "polarization_right": (-1.0, 1.0),
}
_ALONG_X = ("disparity", "disparity_right", "focal", "doffs")  # in px, and so scaled with the width


def read(frame: Frame, polarimetry: PolarimetryOptions | None = None, both: bool = False) -> Sample:
    """The fields that `Frames.sample` tells, at the stored resolution; errors as there.

    both: with `disparity_right` and `valid_right`, where the frame has them.
    """
    fields: dict[str, Array] = {}
    with _naming(frame):
        _add(fields, frame, "left", _picture(frame, "left", frame.left, polarimetry), frame.left)
        if frame.right is not None:
            _add(fields, frame, "right", _picture(frame, "right", frame.right, polarimetry), frame.right)
        for suffix, truth in (("", frame.disparity), ("_right", frame.disparity_right if both else None)):
            if truth is not None:
                assert frame.encoding is not None, "a frame with a disparity says how it is encoded"
                disparity, known = read_disparity(truth, frame.encoding)
                _add(fields, frame, f"disparity{suffix}", disparity[None], truth)
                _add(fields, frame, f"valid{suffix}", known[None], truth)
        for name, file in frame.masks.items():
            where = _mask(name, file)[None]
            if name.partition(".")[0] in ("valid", "valid_right"):
                name = name.partition(".")[0]
                where = where & fields.get(name, where)
            _add(fields, frame, name, where, file.path)
        if frame.polarization is not None:
            for side in ("left", "right"):
                files = getattr(frame.polarization, side)
                if files:
                    vector, _ = read_polarization(frame.polarization.layout, files, polarimetry, side)
                    _add(fields, frame, f"polarization_{side}", vector, files[0])
    for suffix in ("", "_right"):
        if f"disparity{suffix}" in fields:
            known = fields[f"valid{suffix}"]
            fields[f"disparity{suffix}"] = np.where(known, fields[f"disparity{suffix}"], np.float32(0))
        else:
            fields.pop(f"valid{suffix}", None)
    if (calibration := frame.calibration) is not None:
        for name in ("focal", "baseline", "doffs"):
            fields[name] = np.float32(getattr(calibration, name))
    return {**fields, "id": frame.id, "scene": frame.scene}


def _picture(frame: Frame, side: str, path: Path, polarimetry: PolarimetryOptions | None) -> Array:
    polarization = frame.polarization
    if polarization is None or path not in (files := getattr(polarization, side)):
        return read_image(path, side)
    return intensities(polarization.layout, files, polarimetry).picture()


def _mask(name: str, file: MaskFile) -> NDArray[np.bool_]:
    return read_mask(file.path, file.values, name) ^ file.inverted


def _add(fields: dict[str, Array], frame: Frame, name: str, value: Array, file: Path) -> None:
    """Take `value` among the fields; InputError where its size is not that of the left picture."""
    fields[name] = value
    expected = fields["left"].shape[1:]
    if value.shape[1:] != expected:
        what = f"{name} of {frame.id} is {_size(value.shape[1:])}: {file}"
        raise InputError(Problem("", what, f"{_size(expected)} as {frame.left}"))


@contextmanager
def _naming(frame: Frame) -> Iterator[None]:
    try:
        yield
    except DamagedDataError as error:
        raise DamagedDataError(error.array, frame.id, error.reason) from error


def scaled(sample: Sample, scale: float) -> Sample:
    """The example with both sides of every picture times `scale`, rounded.

    Disparity and what else is in px grow with the width; disparity and masks are sampled, one value a pixel, never
    averaged; pictures and polarisation are low-passed first. `scale` tells by how much, for figures in stored px.
    """
    if scale == 1:
        return sample
    height, width = (max(1, round(side * scale)) for side in sample["left"].shape[1:])
    return sized(sample, height, width)


def sized(sample: Sample, height: int, width: int) -> Sample:
    """The example in another size; what becomes of its fields is told at `scaled`."""
    full_height, full_width = sample["left"].shape[1:]
    rows, columns = _centres(height, full_height), _centres(width, full_width)
    result: Sample = {}
    for name, value in sample.items():
        if name in _SMOOTH:
            value = _resized(value, height, width).clip(*_SMOOTH[name])
        elif is_picture(value):
            value = value[:, rows[:, None], columns]
        if name in _ALONG_X:
            value = value * np.float32(width / full_width)
        result[name] = value
    result["scale"] = np.float32(width / full_width)
    return result


def cropped(sample: Sample, size: tuple[int, int], rng: np.random.Generator | None) -> Sample:
    """The same window (height, width) of every picture: drawn by `rng`, in the middle without.

    InputError where it does not fit.
    """
    full_height, full_width = next(value.shape[1:] for value in sample.values() if is_picture(value))
    height, width = size
    if height > full_height or width > full_width:
        what = f"a crop of {_size(size)} does not fit in {sample.get('id', 'an example')}, which is"
        raise InputError(f"{what} {_size((full_height, full_width))}")
    free = full_height - height, full_width - width
    top, left = (side // 2 for side in free) if rng is None else (int(rng.integers(side + 1)) for side in free)
    return {
        name: np.ascontiguousarray(value[:, top : top + height, left : left + width]) if is_picture(value) else value
        for name, value in sample.items()
    }


def is_picture(value: Any) -> bool:
    """Whether a field has a value for every pixel."""
    return isinstance(value, np.ndarray) and value.ndim == 3


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} px"


def _centres(size: int, full: int) -> NDArray[np.intp]:
    return ((np.arange(size) + 0.5) * full / size).astype(np.intp)


def _resized(planes: Array, height: int, width: int) -> NDArray[np.float32]:
    try:
        from PIL import Image
    except ImportError as error:
        raise installed_with("stereo", "pictures are resized with Pillow", error) from error
    # Pillow widens the filter when it shrinks, which is what keeps fine texture from aliasing.
    sized = [Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC) for plane in planes]
    return np.stack([np.asarray(plane, dtype=np.float32) for plane in sized])

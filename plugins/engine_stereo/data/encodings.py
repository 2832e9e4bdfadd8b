"""Disparity from files and into them; `engine_stereo.data.presets` says what their numbers mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, Problem
from engine_stereo.data.damage import installed_with, whole
from engine_stereo.data.images import read_raw, write_png
from engine_stereo.data.pfm import read_pfm, write_pfm
from engine_stereo.data.presets import PRESETS, SUFFIXES, Depth, Encoding, Kind

__all__ = ["PRESETS", "SUFFIXES", "Depth", "Encoding", "Kind", "read_disparity", "write_disparity"]

Array = NDArray[Any]


def read_disparity(path: Path, encoding: Encoding) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Disparity (H, W) float32 in px at the stored resolution, 0 where unknown; known (H, W) bool.

    Positive is left x minus right x. DamagedDataError for a file that is not what `encoding` says or cannot be read
    whole, WorldError for one that is not there or whose library is not installed.
    """
    with whole("disparity", path):
        stored = _READ[encoding.kind](path, encoding)
        if stored.dtype.kind not in "fiu":
            raise ValueError(f"it holds {stored.dtype}; disparity is a number")
        if stored.ndim == 3 and 1 in (stored.shape[0], stored.shape[2]):
            stored = stored[0] if stored.shape[0] == 1 else stored[..., 0]
        if stored.ndim != 2 or 0 in stored.shape:
            raise ValueError(f"it has the shape {stored.shape}; a disparity is (H, W)")
    step = encoding.subsample
    stored = stored[::step, ::step]
    known = np.isfinite(stored) & ~np.isin(stored, np.asarray(encoding.invalid, stored.dtype.type))
    if encoding.depth is not None:
        known &= stored > 0
    values = np.where(known, stored, 1).astype(np.float64)
    if (depth := encoding.depth) is not None:
        values = depth.focal * depth.baseline / (values * depth.unit) - depth.doffs
    else:
        values = values / encoding.per_px
    if encoding.absolute:
        values = np.abs(values)
    known &= _inside(values, encoding)
    return np.where(known, values, 0).astype(np.float32), known


def _inside(disparity: Array, encoding: Encoding) -> NDArray[np.bool_]:
    """Where a disparity in px is within the bounds of what `encoding` takes for known."""
    above = -np.inf if encoding.above is None else encoding.above
    below = np.inf if encoding.below is None else encoding.below
    return (disparity > above) & (disparity < below)


def write_disparity(path: Path, disparity: Array, known: Array, encoding: Encoding) -> None:
    """Write disparity (H, W) in px as `encoding` says; where `known` is false, what it says for unknown.

    Values are rounded to the nearest that can be stored, away from those that mean unknown. InputError for an encoding
    of depth, for disparity that does not fit, and for unknown pixels where the encoding has no value for them;
    WorldError where the file cannot be written or a library is not installed.
    """
    if encoding.depth is not None:
        raise InputError(Problem(str(path), "disparity is not written as depth", "an encoding without depth"))
    codes = _CODES.get(encoding.kind)
    scaled = np.asarray(disparity, np.float64) * encoding.per_px
    with np.errstate(invalid="ignore"):
        stored = scaled.astype(np.float32) if codes is None else np.rint(scaled / codes.step)
    unknown = [value / codes.step for value in encoding.invalid] if codes else encoding.invalid
    for _ in unknown:  # each step away from one of them may meet another
        taken = known & np.isin(stored, np.asarray(unknown, stored.dtype))
        stored = np.where(taken, np.nextafter(stored, np.float32(np.inf)) if codes is None else stored + 1, stored)
    _check(path, disparity, stored, known, encoding, codes)
    nothing = unknown[0] if unknown else np.inf if encoding.kind == "exr" else _UNKNOWN.get(encoding.kind, 0)
    stored = np.where(known, stored, nothing)
    stored = stored.repeat(encoding.subsample, 0).repeat(encoding.subsample, 1)
    with whole("disparity", path):
        _WRITE[encoding.kind](path, stored, encoding)


@dataclass(frozen=True)
class _Codes:
    """Whole numbers 0..most that a picture can hold, each worth `step` stored units."""

    most: int
    step: float


_CODES = {
    "png": _Codes(2**16 - 1, 1),
    "fsd": _Codes(255 * 255**2 + 254 * 255 + 254, 1e-3),
    "sintel": _Codes(2**24 - 1, 2.0**-14),
}
_UNKNOWN = {"pfm": np.inf, "npy": np.nan, "npz": np.nan, "dsp5": np.nan, "exr": np.inf}


def _check(path: Path, disparity: Array, stored: Array, known: Array, encoding: Encoding, codes: _Codes | None) -> None:
    """InputError for what `encoding` cannot hold."""
    what = ""
    if codes is None:
        if not np.isfinite(stored[known]).all():
            what, expected = "a known disparity is not finite", "finite numbers"
        elif not (inside := _inside(disparity, encoding))[known].all():
            what = f"{(known & ~inside).sum()} known pixels would be read as unknown"
            expected = f"disparity above {encoding.above} px and below {encoding.below} px"
    elif not encoding.invalid and not known.all():
        what, expected = f"{(~known).sum()} pixels are unknown", "'invalid' in the encoding, a value that says so"
    elif not ((stored[known] >= 0) & (stored[known] <= codes.most)).all():
        least, most = disparity[known].min(), disparity[known].max()
        what = f"disparity from {least:g} to {most:g} px does not fit"
        expected = f"0 to {codes.most * codes.step / encoding.per_px:g} px"
    if what:
        raise InputError(Problem(str(path), what, expected))


def _read_npy(path: Path, encoding: Encoding) -> Array:
    # Mapped, because that compares the size that the header tells with the file's before it takes memory.
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False))


def _read_npz(path: Path, encoding: Encoding) -> Array:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return _named(arrays, encoding.key)


def _read_pfm(path: Path, encoding: Encoding) -> Array:
    values = read_pfm(path)
    return values if values.ndim == 2 else values[..., 0]  # of optical flow, the part along x


def _read_png(path: Path, encoding: Encoding) -> Array:
    raw = read_raw(path, "disparity")
    if raw.ndim != 2:
        raise ValueError(f"it has {raw.shape[2]} channels; disparity has one, unless the kind is 'fsd' or 'sintel'")
    return raw


def _read_fsd(path: Path, encoding: Encoding) -> Array:
    first, second, third = _colours(path)[["rgb".index(colour) for colour in encoding.digits]]
    return (first * 255**2 + second * 255 + third) / 1000


def _read_sintel(path: Path, encoding: Encoding) -> Array:
    red, green, blue = _colours(path)
    return 4.0 * red + green / 2.0**6 + blue / 2.0**14


def _colours(path: Path) -> Array:
    raw = read_raw(path, "disparity")
    if raw.ndim != 3 or raw.shape[2] < 3 or raw.dtype != np.uint8:
        raise ValueError(f"it holds {raw.dtype} of the shape {raw.shape}; this encoding has three channels of 8 bits")
    return raw[..., :3].transpose(2, 0, 1).astype(np.int64)


def _read_hdf5(path: Path, encoding: Encoding) -> Array:
    h5py = _h5py()
    with path.open("rb") as raw, h5py.File(raw, "r") as file:
        held = _named(file, encoding.key)
        if not isinstance(held, h5py.Dataset):
            raise ValueError(f"its {encoding.key!r} is no array")
        return np.asarray(held[()])


def _read_exr(path: Path, encoding: Encoding) -> Array:
    exr = _openexr()
    with path.open("rb"):  # OpenEXR says of a missing file only that it cannot be read
        pass
    with exr.File(str(path), separate_channels=True) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    only = next(iter(channels)) if len(channels) == 1 else encoding.key
    return np.asarray(_named(channels, only))


def _named(arrays: Any, key: str) -> Array:
    if key not in arrays:
        raise ValueError(f"it has no array {key!r}; it has {', '.join(sorted(arrays))}")
    return arrays[key]


def _write_npy(path: Path, stored: Array, encoding: Encoding) -> None:
    with path.open("wb") as file:  # np.save would add a suffix
        np.save(file, stored)


def _write_npz(path: Path, stored: Array, encoding: Encoding) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **{encoding.key: stored})


def _write_fsd(path: Path, stored: Array, encoding: Encoding) -> None:
    code = stored.astype(np.int64)
    first = np.minimum(code // 255**2, 255)
    rest = code - first * 255**2
    digits = dict(zip(encoding.digits, (first, rest // 255, rest % 255), strict=True))
    write_png(path, np.stack([digits[colour] for colour in "rgb"], axis=-1).astype(np.uint8))


def _write_sintel(path: Path, stored: Array, encoding: Encoding) -> None:
    code = stored.astype(np.int64)
    write_png(path, np.stack([code >> 16, code >> 8 & 255, code & 255], axis=-1).astype(np.uint8))


def _write_hdf5(path: Path, stored: Array, encoding: Encoding) -> None:
    h5py = _h5py()
    with path.open("wb+") as raw, h5py.File(raw, "w") as file:
        file.create_dataset(encoding.key, data=stored, compression="gzip", fletcher32=True)


def _write_exr(path: Path, stored: Array, encoding: Encoding) -> None:
    exr = _openexr()
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, {encoding.key: np.ascontiguousarray(stored, np.float32)}) as file:
        file.write(str(path))


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise installed_with("hdf5", "HDF5 files (.dsp5, .h5) are read and written with h5py", error) from error
    return h5py


def _openexr() -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise installed_with("exr", "EXR files are read and written with OpenEXR", error) from error
    return OpenEXR


_READ: dict[Kind, Callable[[Path, Encoding], Array]] = {
    "pfm": _read_pfm,
    "png": _read_png,
    "npy": _read_npy,
    "npz": _read_npz,
    "fsd": _read_fsd,
    "sintel": _read_sintel,
    "dsp5": _read_hdf5,
    "exr": _read_exr,
}
_WRITE: dict[Kind, Callable[[Path, Array, Encoding], None]] = {
    "pfm": lambda path, stored, encoding: write_pfm(path, stored),
    "png": lambda path, stored, encoding: write_png(path, stored.astype(np.uint16)),
    "npy": _write_npy,
    "npz": _write_npz,
    "fsd": _write_fsd,
    "sintel": _write_sintel,
    "dsp5": _write_hdf5,
    "exr": _write_exr,
}

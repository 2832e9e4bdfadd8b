"""Pictures and masks from files, in the colours and the depth in which they are stored.

Pillow decodes what has 8 bits, because it refuses files that are cut short where OpenCV fills up. It has no 16-bit
colour and makes it 8-bit without a word, which is why OpenCV decodes PNG of 16 bits and TIFF.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine_stereo.data.damage import installed_with, whole

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\x00", b"MM\x00*")
_DEPTH_OF_PNG = 24  # the byte of the header that holds the bits a channel


def read_image(path: Path, array: str = "image") -> NDArray[np.float32]:
    """The picture, (3, H, W) float32, sRGB in [0, 255].

    16-bit files are scaled by 255/65535, grey is replicated, alpha is dropped. DamagedDataError for a file that cannot
    be read whole, which `array` names; WorldError for one that is not there.
    """
    raw = read_raw(path, array)
    with whole(array, path):
        if raw.dtype == np.uint16:
            colour = raw.astype(np.float32) * np.float32(255 / 65535)
        elif raw.dtype == np.uint8:
            colour = raw.astype(np.float32)
        else:
            raise ValueError(f"it holds {raw.dtype}; a picture has 8 or 16 bits a channel")
        planes = colour[..., None] if colour.ndim == 2 else colour
        planes = planes[..., :3] if planes.shape[-1] >= 3 else planes[..., [0, 0, 0]]
        return np.ascontiguousarray(planes.transpose(2, 0, 1))


def read_raw(path: Path, array: str = "image") -> NDArray[Any]:
    """The numbers as stored: (H, W), or (H, W, C) in the order RGB(A) or LA; uint8, uint16, or float32 in a TIFF.

    Colours of a palette are looked up. Errors as in `read_image`.
    """
    return _decoded(path, array, palette=True)


def read_mask(path: Path, values: Sequence[int] | None = None, array: str = "mask") -> NDArray[np.bool_]:
    """(H, W) bool: where the stored value is one of `values`, or above 0 without them.

    Of a palette the index is compared, of several channels the first, of a .npy file the number. Errors as in
    `read_image`.
    """
    if path.suffix == ".npy":
        with whole(array, path):
            stored = np.load(path, allow_pickle=False)
    else:
        stored = _decoded(path, array, palette=False)
    with whole(array, path):
        if stored.ndim == 3:
            stored = stored[..., 0]
        if stored.ndim != 2:
            raise ValueError(f"it has the shape {stored.shape}; a mask is (H, W)")
        return np.isin(stored, list(values)) if values is not None else stored > 0


def write_image(path: Path, picture: NDArray[Any]) -> None:
    """Write (3, H, W) in [0, 255] as a PNG of 8 bits, rounded. WorldError where it cannot be written."""
    rounded = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    write_png(path, np.ascontiguousarray(rounded.transpose(1, 2, 0)))


def write_png(path: Path, raw: NDArray[Any]) -> None:
    """Write (H, W) or (H, W, 3) RGB of uint8 or uint16 as it is."""
    cv2 = _opencv()
    stored = raw if raw.ndim == 2 else np.ascontiguousarray(raw[..., ::-1])
    done, data = cv2.imencode(".png", stored)
    assert done, f"OpenCV does not encode {raw.dtype} {raw.shape} as PNG"
    with whole("image", path):
        path.write_bytes(data.tobytes())


def _decoded(path: Path, array: str, palette: bool) -> NDArray[Any]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise installed_with("stereo", "pictures are read with Pillow", error) from error

    with whole(array, path):
        data = path.read_bytes()
        is_png = data.startswith(_PNG)
        if data.startswith(_TIFF):
            return _by_opencv(data)
        try:
            if is_png:
                with Image.open(BytesIO(data)) as file:
                    file.verify()  # the checksums, of which decoding leaves out the last
                if data[_DEPTH_OF_PNG] == 16:
                    return _by_opencv(data)
            with Image.open(BytesIO(data)) as file:
                if file.mode == "P" and palette:
                    return np.asarray(file.convert("RGB"))
                if file.mode in ("1", "CMYK", "YCbCr", "HSV", "LAB"):
                    file = file.convert("L" if file.mode == "1" else "RGB")
                return np.asarray(file)
        except UnidentifiedImageError as error:  # its own words name an object in memory
            raise ValueError("this is no picture that Pillow knows") from error
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error


def _by_opencv(data: bytes) -> NDArray[Any]:
    cv2 = _opencv()
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(str(error)) from error
    if stored is None:
        raise ValueError("the picture is cut short or altered")
    if stored.ndim == 2:
        return np.asarray(stored)
    order = [2, 1, 0, 3][: stored.shape[2]] if stored.shape[2] >= 3 else list(range(stored.shape[2]))
    return np.ascontiguousarray(stored[..., order])


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise installed_with("stereo", "pictures of 16 bits are read and written with OpenCV", error) from error
    return cv2

"""Files that cannot be read as they were written, in words."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

from engine.errors import DamagedDataError, WorldError

# What zip, numpy, Pillow, h5py and OpenEXR raise for a file that is cut short or altered.
_SIGNS = (
    OSError,
    ValueError,  # UnicodeDecodeError among them
    LookupError,
    SyntaxError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    MemoryError,  # a flipped bit in a shape
    OverflowError,
    BadZipFile,
    zlib.error,
    struct.error,
    TokenError,  # of numpy's header
)


@contextmanager
def whole(array: str, file: Path) -> Iterator[None]:
    """Read `file` inside; DamagedDataError where it is not what it should be, WorldError where it is not there.

    The sample's name is not known here: the file's stands in its place, and `Frames` puts the sample's there.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise WorldError(f"{file}: {error.strerror or error}") from error
    except _SIGNS as error:
        raise DamagedDataError(array, file.name, f"{file}: {error or type(error).__name__}") from error


def installed_with(extra: str, needs: str, error: ImportError) -> WorldError:
    """The words for a library that an optional part needs and that is not there."""
    return WorldError(f'{needs} ({error}): pip install "experiment-engine[{extra}]"')

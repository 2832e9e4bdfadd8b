"""Data sets from the functions that list their examples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from engine.errors import InputError
from engine_stereo.data.frames import Frames


def factory(lister: str) -> Callable[[Any], Frames]:
    """What builds a data set from its options, by "module:function" of the reader; neither is imported before."""
    return partial(build, lister)


def build(lister: str, options: Any) -> Frames:
    """The data set of a reader's examples. InputError where there is none."""
    module, function = lister.split(":")
    frames = getattr(import_module(module), function)(options)
    if not frames:
        raise InputError(f"{options.root}: no examples are there")
    return Frames(frames, options, options.root)

"""Argoverse 1, stereo: streets with ground truth from LiDAR.

Chang et al., "Argoverse: 3D tracking and forecasting with rich maps", CVPR 2019. A picture is named by the nanosecond
at which its own camera took it, so the right one is the nearest in time, not the one of the same name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from engine.errors import InputError, Problem
from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.patterns import found
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import SHOWN

_APART = 50_000_000  # ns; the cameras take a picture every 200 ms


class ArgoverseOptions(FramesOptions):
    """Options of `argoverse_stereo`."""

    root: Path = Field(description="the folder with rectified_stereo_images_v1.1/ and disparity_maps_v1.1/")
    split: Literal["train", "val", "test"] = Field("train", description="as published; 'test' has no ground truth")


def frames(options: ArgoverseOptions) -> list[Frame]:
    """The pairs; a scene is a log. InputError for a root that has none and for pictures that miss a partner."""
    pictures = f"rectified_stereo_images_v1.1/{options.split}/*/stereo_front_{{}}_rect/stereo_front_{{}}_rect_*.jpg"
    truth = f"disparity_maps_v1.1/{options.split}/*/stereo_front_left_rect_disparity/*.png"
    left, right = (_by_time(pictures.format(view, view), options.root) for view in ("left", "right"))
    disparity = _by_time(truth, options.root) if options.split != "test" else {}
    if not left:
        expected = f"'{pictures.format('left', 'left')}' with '{truth}'"
        raise InputError(Problem(str(options.root), "the pictures are not there", expected))
    missing = []
    result = []
    for log, times in left.items():
        for time, path in times.items():
            near = min(right.get(log, {}), key=lambda other: abs(other - time), default=None)
            if near is None or abs(near - time) > _APART:
                missing.append(Problem(str(path), "the right picture of that moment is not there"))
                continue
            known = disparity.get(log, {}).get(time)
            if options.split != "test" and known is None:
                missing.append(Problem(str(path), "the disparity of that moment is not there", truth))
            encoding = PRESETS["argoverse"] if known else None
            result.append(Frame(f"{log}/{time}", log, path, right[log][near], known, encoding))
    if missing:
        raise InputError(missing[:SHOWN], f"{len(missing)} pictures miss a partner")
    return result


def _by_time(pattern: str, root: Path) -> dict[str, dict[int, Path]]:
    """Log -> ns -> file. The time is what the name ends with."""
    logs: dict[str, dict[int, Path]] = {}
    for parts, path in found(pattern, root).items():
        time = parts[1].rpartition("_")[2]
        if time.isdigit():
            logs.setdefault(parts[0], {})[int(time)] = root / path
    return logs

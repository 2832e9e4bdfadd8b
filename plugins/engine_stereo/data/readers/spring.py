"""Spring: full-HD frames of an animated film.

Mehl et al., "Spring: a high-resolution high-detail dataset and benchmark for scene flow, optical flow and stereo", CVPR
2023. Disparity is stored at twice the resolution with values in px of the frame, so every second row and column is
read and no value halved. Needs h5py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from engine_stereo.data.calibration import Calibration
from engine_stereo.data.damage import whole
from engine_stereo.data.frames import Frame
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed

_BASELINE = 0.065  # m


class SpringOptions(FramesOptions):
    """Options of `spring`."""

    root: Path = Field(description="the folder with train/ and test/")
    split: Literal["train", "test"] = Field("train", description="'test' has no ground truth")


def frames(options: SpringOptions) -> list[Frame]:
    """Every frame; a scene is a sequence. Errors as in `listed`, DamagedDataError for a camera that cannot be read."""
    sequence = f"{options.split}/*"
    known = options.split == "train"
    layout = Layout(
        left=f"{sequence}/frame_left/frame_left_*.png",
        right=f"{sequence}/frame_right/frame_right_*.png",
        id="*/*",
        disparity=f"{sequence}/disp1_left/disp1_left_*.dsp5" if known else None,
        encoding=PRESETS["spring"],
        scene="*",
    )
    found = listed(options.root, [layout])
    cameras = {_camera(frame) for frame in found}
    focals = {file: _focals(file) for file in sorted(cameras) if file.is_file()}
    return [_with_camera(frame, focals) for frame in found]


def _camera(frame: Frame) -> Path:
    return frame.left.parents[1] / "cam_data" / "intrinsics.txt"


def _with_camera(frame: Frame, known: dict[Path, list[float]]) -> Frame:
    file, number = _camera(frame), int(frame.id.rpartition("/")[2])
    if file not in known:
        return frame
    focals = known[file]
    with whole("calibration", file):
        if not 1 <= number <= len(focals):
            raise ValueError(f"it has {len(focals)} lines, and there is a frame {number}")
    return replace(frame, calibration=Calibration(focals[number - 1], _BASELINE))


def _focals(file: Path) -> list[float]:
    """px, of each frame: lines of fx fy cx cy."""
    with whole("calibration", file):
        return [float(line.split()[0]) for line in file.read_text().splitlines() if line.strip()]

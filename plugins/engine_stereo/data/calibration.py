"""What stereo cameras' calibration files say, as far as disparity becomes depth by it: Z = f * B / (d + doffs)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine_stereo.data.damage import whole

_MM = 1e-3


@dataclass(frozen=True)
class Calibration:
    """focal: px at the stored resolution. baseline: m. doffs: px, x of the right principal point minus the left's.

    centre: (x, y) px of the left principal point, where it is told.
    """

    focal: float
    baseline: float
    doffs: float = 0.0
    centre: tuple[float, float] | None = None


def read_calibration(path: Path) -> Calibration:
    """By what the file is: OpenCV's XML, stereodemo's JSON, Middlebury's calib.txt (ETH3D's too), or KITTI's.

    DamagedDataError for a file that is none of them or misses a value, WorldError for one that is not there.
    """
    if path.suffix.lower() in (".xml", ".yml", ".yaml"):
        return read_opencv_xml(path)
    if path.suffix.lower() == ".json":
        return read_json(path)
    with whole("calibration", path):
        text = path.read_text(encoding="utf-8")
    return read_middlebury(path) if re.search(r"^cam0\s*=", text, re.MULTILINE) else read_kitti(path)


def read_middlebury(path: Path) -> Calibration:
    """calib.txt: `cam0=[f 0 cx; 0 f cy; 0 0 1]`, `doffs=`, `baseline=` in mm. Errors as in `read_calibration`."""

    def read(text: str) -> Calibration:
        values = dict(re.findall(r"^\s*(\w+)\s*=\s*(.*?)\s*$", text, re.MULTILINE))
        left = _numbers(_value(values, "cam0").strip("[]").replace(";", " "), 6)
        doffs = float(values.get("doffs", 0))
        return Calibration(left[0], float(_value(values, "baseline")) * _MM, doffs, (left[2], left[5]))

    return _read(path, read)


def read_kitti(path: Path) -> Calibration:
    """The colour cameras: P2 and P3 of calib/ (2012), P_rect_02 and P_rect_03 of calib_cam_to_cam/ (2015).

    A projection matrix holds -f * x of the camera in its fourth column. Errors as in `read_calibration`.
    """

    def read(text: str) -> Calibration:
        values = dict(re.findall(r"^\s*(\w+)\s*:\s*(.*?)\s*$", text, re.MULTILINE))
        names = ("P_rect_02", "P_rect_03") if "P_rect_02" in values else ("P2", "P3")
        left, right = (_numbers(_value(values, name), 12) for name in names)
        return Calibration(left[0], (left[3] - right[3]) / left[0], right[2] - left[2], (left[2], left[6]))

    return _read(path, read)


def read_opencv_xml(path: Path) -> Calibration:
    """Booster's: `proj_matR`, `proj_matL` (or `mtxL`), and `baselineLR` in mm. Errors as in `read_calibration`."""
    from xml.etree import ElementTree

    def read(text: str) -> Calibration:
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise ValueError(str(error)) from error
        nodes = {node.tag: node.findtext("data") or node.text or "" for node in root}
        left = _numbers(_value(nodes, "proj_matL" if "proj_matL" in nodes else "mtxL"), 9)
        right = _numbers(_value(nodes, "proj_matR"), 3)
        baseline = _numbers(_value(nodes, "baselineLR"))[0]
        centre = (left[2], left[len(left) // 3 + 2])  # the first is (3, 4), the other (3, 3)
        return Calibration(left[0], abs(baseline) * _MM, right[2] - left[2], centre)

    return _read(path, read)


def read_json(path: Path) -> Calibration:
    """stereodemo's: `fx`, `baseline_meters`, and `cx0`, `cx1`, `cy` in px. Errors as in `read_calibration`."""

    def read(text: str) -> Calibration:
        said = json.loads(text)
        values = {name: str(value) for name, value in said.items()} if isinstance(said, dict) else {}
        focal, baseline, left, right, y = (
            float(_value(values, name)) for name in ("fx", "baseline_meters", "cx0", "cx1", "cy")
        )
        return Calibration(focal, baseline, right - left, (left, y))

    return _read(path, read)


def _read(path: Path, read: Callable[[str], Calibration]) -> Calibration:
    with whole("calibration", path):
        found = read(path.read_text(encoding="utf-8"))
        if not all(math.isfinite(value) for value in (found.focal, found.baseline, found.doffs, *(found.centre or ()))):
            raise ValueError(f"it says {found}")
        if found.focal <= 0 or found.baseline <= 0:
            raise ValueError(f"it says focal length {found.focal:g} px and baseline {found.baseline:g} m")
        return found


def _value(values: dict[str, str], name: str) -> str:
    if name not in values:
        raise ValueError(f"it has no {name!r}; it has {', '.join(sorted(values)) or 'nothing'}")
    return values[name]


def _numbers(text: str, count: int = 1) -> list[float]:
    numbers = [float(part) for part in text.split()]
    if len(numbers) < count:
        raise ValueError(f"{text!r} has {len(numbers)} numbers, not {count}")
    return numbers

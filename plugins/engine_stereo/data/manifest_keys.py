"""What a manifest may say, key by key, and values as what they should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.errors import Problem, nearest
from engine_stereo.data.manifest_rows import Row


@dataclass(frozen=True)
class Key:
    """meaning: for the documentation. expected: for messages. convert: ValueError where a value is something else."""

    meaning: str
    expected: str
    convert: Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError


def _several(one: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def convert(value: Any) -> tuple[Any, ...]:
        parts = [part.strip() for part in value.split(";")] if isinstance(value, str) else value
        parts = parts if isinstance(parts, list) else [parts]
        if not parts:
            raise ValueError
        return tuple(one(part) for part in parts)

    return convert


def _path(meaning: str) -> Key:
    return Key(meaning, "a path", _text)


def _figure(meaning: str) -> Key:
    return Key(meaning, "a number", _number)


_MASK = _path("a mask: true where it is above 0")
_VALUES = Key("the stored values that mean true", "whole numbers", _several(_whole))
_INVERTED = Key("true where the mask's file says false", "true or false", _flag)
_VIEW = Key("the polarisation of one view: one file, four of 'angles'", "a path, or four", _several(_text))

KEYS: dict[str, Key] = {
    "left": _path("the left picture"),
    "right": _path("the right picture"),
    "disparity": _path("ground truth of the left view"),
    "disparity_right": _path("ground truth of the right view, stored alike; `flip_horizontal` needs it"),
    "encoding": Key("how it is stored: the name of a data set's encoding or a kind", "a name", _text),
    "per_px": _figure("stored units a pixel of disparity"),
    "invalid": Key("stored values that mean unknown", "a number, or several", _several(_number)),
    "absolute": Key("take the size of numbers that are stored negative", "true or false", _flag),
    "key": Key("the array in an npz or HDF5 file", "a name", _text),
    "subsample": Key("stored rows and columns a pixel of the picture", "a whole number", _whole),
    "digits": Key("of 'fsd': the colours in the order of their digits, 'rgb' by default", "three letters", _text),
    "depth_unit": _figure("m a stored unit, where the file holds depth; needs a calibration"),
    "valid": _path("a mask of the pixels whose truth counts"),
    "valid.values": _VALUES,
    "valid.inverted": _INVERTED,
    "mask.NAME": _MASK,
    "mask.NAME.values": _VALUES,
    "mask.NAME.inverted": _INVERTED,
    "polarization_left": _VIEW,
    "polarization_right": _VIEW,
    "polarization_layout": Key("how both are stored", "a name", _text),
    "calibration": _path("Middlebury's calib.txt, KITTI's, or OpenCV's XML"),
    "focal": _figure("focal length, px"),
    "baseline": _figure("distance of the cameras, m"),
    "doffs": _figure("x of the right principal point minus the left's, px"),
    "scene": Key("examples of one scene are never split; the id by default", "a text", _text),
    "id": Key("the example's name; the left path without its suffix by default", "a text", _text),
}
"""By name; NAME stands for a mask's."""


def converted(row: Row, problems: list[Problem]) -> dict[str, Any]:
    """The row's values as their keys ask; unknown keys and wrong values are added to `problems`."""
    values = {}
    for name, value in row.cells.items():
        name = name.removesuffix(".file")  # mask = { glass = { file = "g.png", values = [1] } }
        key = _key(name)
        if key is None:
            near = nearest(name, [known for known in KEYS if "NAME" not in known])
            expected = "" if near else f"one of {', '.join(KEYS)}"
            problems.append(Problem(row.where(name), f"unknown key {name!r}", expected, near))
            continue
        try:
            values[name] = key.convert(value)
        except (ValueError, OverflowError):
            problems.append(Problem(row.where(name), f"{name!r} is {value!r}", key.expected))
    return values


def _key(name: str) -> Key | None:
    parts = name.split(".")
    if parts[0] == "mask" and len(parts) > 1 and parts[1]:
        parts[1] = "NAME"
    elif "NAME" in parts:
        return None
    return KEYS.get(".".join(parts))

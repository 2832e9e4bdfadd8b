"""Whether what is read of a run is as the engine wrote it: a report is also asked of a run whose disk was damaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LATEST = 1e11
"""Seconds since 1970, in the sixth millennium: what is later is no time, and not every system has a date for it."""

_NUMBER = (int, float)
_MAYBE = (int, float, type(None))

_EVENTS: Mapping[str, Mapping[str, Any]] = {
    "run_started": {"stages": list, "device": str},
    "run_finished": {"status": str, "message": str},
    "stage_started": {"name": str, "title": str, "steps": int, "source": str},
    "stage_frozen": {"name": str, "trainable": int, "frozen": int, "digest": str, "zero_gradient": list},
    "stage_finished": {"name": str, "seconds": _NUMBER, "frozen_digest": str},
    "step": {
        **dict.fromkeys(("loss", "gradient_norm", "learning_rate"), _MAYBE),
        **dict.fromkeys(("seconds_per_step", "data_share"), _NUMBER),
        **{"stage": str, "step": int, "terms": dict, "skipped": int},
    },
    "evaluated": {"stage": str, "moment": str, "warp": str, "evaluation": dict},
    "gate_decided": {"stage": str, "at": str, "check": str, "verdict": dict, "action": str},
    "checkpoint_saved": {"stage": str, "step": int},
    "note": {"level": str, "text": str},
}
"""What an event of each kind holds that is shown, and of which type it is."""


def holds(table: Any, kinds: Mapping[str, Any]) -> bool:
    """Whether it is a table that has all these keys, with values of these types."""
    return isinstance(table, Mapping) and all(
        key in table and isinstance(table[key], kind) for key, kind in kinds.items()
    )


def is_event(value: Any) -> bool:
    """Whether it is an event with all that is shown of its kind."""
    if not holds(value, {"event": str, "time": _NUMBER}) or not holds(value, _EVENTS.get(value["event"], {})):
        return False
    if not 0 <= value["time"] < LATEST:
        return False
    match value["event"]:
        case "run_started":
            return all(isinstance(each, list) and [*map(type, each)] == [str, str, int] for each in value["stages"])
        case "evaluated":
            when, _, step = value["moment"].partition(" ")
            measured = when in ("before", "after") or (when == "step" and step.isdecimal())
            aligned = value["warp"] in ("off", "gt", "pred")
            return measured and aligned and holds(value["evaluation"], {"mean": dict, "base_mean": dict})
        case "gate_decided":
            return holds(value["verdict"], {"status": str, "reason": str, "advice": str})
    return True

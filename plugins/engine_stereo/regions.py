"""The names of image regions: `transparent&noc` and the like, without touching a tensor."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_TERM = re.compile(r"(~?)([A-Za-z_]\w*)")

# What the built-in names stand for, as (mask field, value that the field must have).
_BUILT_IN: dict[str, tuple[tuple[str, bool], ...]] = {
    "all": (),
    "noc": (("occluded", False),),
    "occ": (("occluded", True),),
    "opaque": (("transparent", False), ("occluded", False)),
}


def parse_region(expression: str) -> tuple[tuple[str, bool], ...]:
    """The conditions that a region sets on a batch's mask fields, beside `valid`, which every region implies.

    Grammar: names joined by `&`, each with an optional `~` for "not". `all` sets no condition, `noc` and `occ` are
    visible and not visible in the other view, `opaque` is neither transparent nor occluded; any other name is a mask
    field of the batch. Example: `parse_region("transparent&noc")` is `(("transparent", True), ("occluded", False))`.

    Raises ValueError when the expression does not follow the grammar, or negates a name that is no single condition.
    """
    conditions: list[tuple[str, bool]] = []
    for term in expression.split("&"):
        match = _TERM.fullmatch(term)
        if match is None:
            raise ValueError(
                f"{expression!r} is not a region; write mask names joined by '&', '~' before a name for not"
            )
        negated, name = bool(match[1]), match[2]
        meaning = _BUILT_IN.get(name, ((name, True),))
        if negated and len(meaning) != 1:
            raise ValueError(
                f"'~{name}' in the region {expression!r} is no conjunction of masks; name the masks instead"
            )
        conditions += [(field, wanted != negated) for field, wanted in meaning]
    return tuple(conditions)


def _checked(expression: str) -> str:
    parse_region(expression)
    return expression


Region = Annotated[str, AfterValidator(_checked)]
"""A region expression that was checked against the grammar of `parse_region`."""

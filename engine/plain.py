"""Data as JSON can carry it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any


def finite(value: Any) -> Any:
    """The same data with null for every number that is not finite, which JSON cannot write."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def not_finite(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """What `finite` leaves out, as (place, number): ("terms.square", "nan")."""
    if isinstance(value, float) and not math.isfinite(value):
        yield where, str(float(value))
    elif isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from not_finite(item, f"{where}.{key}" if where else str(key))

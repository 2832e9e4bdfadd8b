from __future__ import annotations

from typing import Any

import pytest

from engine.contracts import Status, Verdict
from engine.recipe.schema import GateTable
from engine.stages.gating import action

EXTEND = {"on_fail": "extend", "extend": {"steps": 2, "times": 1}}


@pytest.mark.parametrize(
    ("table", "status", "left", "expected"),
    [
        ({}, "pass", 0, "go on"),
        ({"on_fail": "warn"}, "pass", 0, "go on"),
        (EXTEND, "pass", 1, "go on"),
        ({}, "fail", 0, "stop"),
        ({}, "warn", 0, "stop"),
        ({}, "undetermined", 0, "stop"),
        ({}, "nothing-to-gain", 0, "stop"),
        ({"accept": ["warn"]}, "warn", 0, "go on, overridden"),
        ({"accept": ["warn"]}, "undetermined", 0, "stop"),
        ({"accept": ["warn"]}, "fail", 0, "stop"),
        ({"on_fail": "warn"}, "fail", 0, "go on, overridden"),
        ({"on_fail": "warn"}, "undetermined", 0, "go on, overridden"),
        (EXTEND, "fail", 1, "extend"),
        (EXTEND, "fail", 0, "stop"),
        (EXTEND, "warn", 1, "extend"),
        (EXTEND, "undetermined", 1, "stop"),
        (EXTEND, "nothing-to-gain", 1, "stop"),
        ({"accept": ["nothing-to-gain"]}, "nothing-to-gain", 0, "go on, overridden"),
        ({"accept": ["warn"]}, "nothing-to-gain", 0, "go on, overridden"),
        ({"accept": ["undetermined"]}, "nothing-to-gain", 0, "stop"),
        ({"accept": ["nothing-to-gain"]}, "warn", 0, "stop"),
        (EXTEND | {"accept": ["warn"]}, "nothing-to-gain", 1, "go on, overridden"),
        (EXTEND | {"accept": ["undetermined"]}, "undetermined", 1, "go on, overridden"),
    ],
)
def test_what_follows_from_a_verdict(table: dict[str, Any], status: Status, left: int, expected: str) -> None:
    gate = GateTable.model_validate({"check": "threshold", **table})
    assert action(gate, Verdict(status, "because"), left) == expected

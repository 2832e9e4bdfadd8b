"""The measurement of a frozen base: every kind takes a step; whole and cached end with the same weights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Imported


def test_steps_from_the_cache_end_with_the_same_weights(
    imported: Imported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path))
    rows = imported("", "frozen").frozen.measure("nano", 8, rounds=1, steps=1, count=320, folder=tmp_path)
    assert [row.split(" | ")[1] for row in rows[:-1]] == ["naive", "frozen", "whole", "cached"]
    (apart,) = re.findall(r"weights of whole and cached differ by at most (\S+)", rows[-1])
    assert float(apart) < 1e-6
    assert "Filling 320 samples takes" in rows[-1]

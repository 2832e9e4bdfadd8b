"""A short slice of `make faults`: every kind of fault at least once, each in a real run, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from faults.campaign import KINDS

TESTS = Path(__file__).parents[1]


def test_no_fault_of_a_short_campaign_loses_anything() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faults.campaign", "--faults", "1", "--seed", "1"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" passed, 0 failed\n")
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[1:] == list(KINDS)

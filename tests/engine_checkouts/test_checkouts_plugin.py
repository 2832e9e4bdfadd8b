"""The model `checkout` keeps the promises of every base, on both stand-ins, and costs nothing before it is built."""

from __future__ import annotations

import subprocess
import sys

import pytest
from checkout_world import FOLDERS, SMALL, options, slanted_pair
from engine_checkouts import plugin

from engine import testing

# These train all of a network, or in bf16 on a CPU, which FoundationStereo refuses: test_checkouts_safeguards.py.
REFUSED = (
    "gradients_reach_all_that_trains_and_nothing_else",
    "it_leaves_its_batch_alone",
    "it_works_in_bf16",
)
PROMISES = [
    promise
    for preset, folder in FOLDERS.items()
    for promise in testing.model(
        "checkout",
        {"preset": preset, "checkout": str(folder), "train_iters": 2, "valid_iters": 2, **SMALL[preset]},
        batch=slanted_pair,
    )
    if preset == "raft_stereo" or promise.name not in REFUSED
]


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_it_keeps_its_promises(promise: testing.Check) -> None:
    promise()


def test_registering_does_not_import_torch() -> None:
    code = (
        "import sys, engine_checkouts.plugin as p; p.engine_models(lambda *a, **k: 0); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_network_reaches_up_to_its_own_bound_or_over_the_picture() -> None:
    assert plugin._reach(options("foundation_stereo", max_disp=96), (64, 128)) == (0, 96)
    assert plugin._reach(options("raft_stereo"), (64, 128)) == (0, 128)

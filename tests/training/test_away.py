"""On another device than the CPU everything stays there, no step waits, and each operator has a deterministic form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from away import Asked, Seen, trained

from engine.errors import PluginError

NETWORK = ("s2m2_pmc", "s2m2_disparity", "s2m2_visibility", "s2m2_confidence")
STEREO = (
    *("disparity_l1", "disparity_smooth_l1", "sequence", "photometric", "smoothness", "disparity_edges"),
    *("confidence_bce", "visibility_bce", "laplace"),
)
CORRECTION = ("polarization", {"max_correction": 4.0})
SUMS = {"epe": {"quantities": ["epe", "bias", "bad", "d1", "rmse"]}}
"""The metrics that no step needs and the host need not wait for; quantiles are looked up there."""
WITHOUT_FORM = re.compile(
    r"aten\.(grid_sampler_[23]d_backward|upsample_(linear|bilinear|bicubic|trilinear)\w*_backward|put_?\.|histc"
    r"|reflection_pad[123]d_backward|_?adaptive_\w+_backward|nll_loss\w*|cumsum"
    r"|avg_pool3d_backward|max_unpool|fractional_max_pool\w+_backward|_ctc_loss_backward|median\.dim|kthvalue)"
)
"""Operators that raise on a GPU under `deterministic = true`, by torch's own list."""


@pytest.fixture(scope="module")
def seen() -> Iterator[Callable[[Asked], Seen]]:
    """seen(asked): what `trained` saw, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool:
        yield lambda asked: pool.submit(trained, asked).result()


def test_no_step_leaves_the_device_or_waits_for_it_and_all_has_a_deterministic_form(
    seen: Callable[[Asked], Seen],
) -> None:
    found = seen(Asked((*NETWORK, *STEREO), {"refine_iter": 1}, CORRECTION, metrics=SUMS, deterministic=True))
    assert found.waits == []
    assert {each for each in found.operators if WITHOUT_FORM.match(each)} == set()


def test_an_average_and_parts_of_a_step_stay_there_too(seen: Callable[[Asked], Seen]) -> None:
    train = {"ema": 0.9, "accumulate": 2, "nonfinite": {"policy": "skip"}}
    found = seen(Asked(("laplace",), None, ("uncertainty", {}), frozen=("base.**",), train=train, steps=2))
    assert found.waits == []


def test_a_number_that_is_read_and_a_tensor_that_lies_elsewhere_are_seen(seen: Callable[[Asked], Seen]) -> None:
    assert [each for each in seen(Asked(("looks",))).waits if "away.py" in each]
    with pytest.raises(PluginError, match="two devices"):
        seen(Asked(("strays",)))

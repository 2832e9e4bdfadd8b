"""What every plugin promises to the engine, as checks that its author runs from pytest.

A function for each kind gives a list of checks, each a callable with a name. They are made in a moment; the plugin is
loaded when the first one runs, so that a plugin that cannot be loaded is a failed test:

    @pytest.mark.parametrize("check", testing.injection("grey", files=[FILE], batch=batch, target="depth"), ids=str)
    def test_grey(check):
        check()

A check that fails raises AssertionError: whose promise it is, what was promised, what was found, what to do.
"""

from engine.testing.datasets import dataset
from engine.testing.gates import Shown, gate
from engine.testing.injections import injection
from engine.testing.losses import loss
from engine.testing.metrics import metric
from engine.testing.models import model
from engine.testing.subject import Check
from engine.testing.trackers import tracker

__all__ = ["Check", "Shown", "dataset", "gate", "injection", "loss", "metric", "model", "tracker"]

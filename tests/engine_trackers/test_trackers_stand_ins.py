"""W&B and Trackio get what MLflow gets; stand-ins take the place of the libraries, which tests do not install."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, call

import pytest

from engine.contracts import TrackedRun, Tracker
from engine.errors import WorldError
from engine.plugins import load

RUN = TrackedRun("toy", "20260101-a", Path("/runs/toy/20260101-a"), resumed=False, params={"seed": 0})


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> MagicMock:
    """A library that takes every call; `import` and a search for it find it."""
    made = MagicMock(__spec__=SimpleNamespace(name=request.param))
    monkeypatch.setitem(sys.modules, request.param, made)
    return made


def tracker(name: str, **options: object) -> Tracker:
    registered = load().get("trackers", name)
    made: Tracker = registered.build(registered.options(**options))
    return made


def tell(told: Tracker, status: str = "done") -> None:
    told.begin(RUN)
    told.figures(3, {"train/loss": 0.5})
    told.tags(3, {"gate.B.exit.threshold": "pass"})
    told.end(status)


@pytest.mark.parametrize("library", ["wandb"], indirect=True)
def test_wandb(library: MagicMock, tmp_path: Path) -> None:
    tell(tracker("wandb", entity="team", mode="offline", folder=tmp_path / "here"), "refused")
    given = library.init.call_args.kwargs
    assert (given["project"], given["entity"], given["id"], given["resume"]) == ("toy", "team", "20260101-a", "allow")
    assert (given["mode"], given["dir"], given["config"]) == ("offline", str(tmp_path / "here"), {"seed": 0})
    run = library.init.return_value
    assert run.log.call_args == call({"step": 3, "train/loss": 0.5})
    assert run.summary.update.call_args == call({"gate.B.exit.threshold": "pass"})
    assert run.finish.call_args == call(exit_code=1)


@pytest.mark.parametrize("library", ["wandb"], indirect=True)
def test_wandb_without_a_key_says_so_and_asks_nobody_in_the_terminal(library: MagicMock) -> None:
    library.api.api_key = None
    with pytest.raises(WorldError, match="no key: set WANDB_API_KEY"):
        tracker("wandb").begin(RUN)
    library.init.assert_not_called()


@pytest.mark.parametrize("library", ["trackio"], indirect=True)
def test_trackio(library: MagicMock, capsys: pytest.CaptureFixture[str]) -> None:
    library.init.side_effect = lambda **_: print("project initialized") or library.run
    tell(tracker("trackio", project="glass"))
    given = library.init.call_args.kwargs
    assert (given["project"], given["name"], given["config"]) == ("glass", "20260101-a", {"seed": 0})
    assert (given["space_id"], given["resume"]) == (None, "allow")
    assert library.run.log.call_args_list == [
        call({"train/loss": 0.5}, step=3),
        call({"tag/gate.B.exit.threshold": "pass"}, step=3),
    ]
    library.run.finish.assert_called_once_with()
    assert capsys.readouterr().out == "", "which may carry JSON"


@pytest.mark.parametrize("library", ["trackio"], indirect=True)
def test_what_others_print_while_trackio_works_stays_on_standard_output(
    library: MagicMock, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the JSON document of a run whose tracker is still sending."""
    begun, may_end = threading.Event(), threading.Event()

    def finish() -> None:
        print("sending")
        begun.set()
        may_end.wait(5)

    library.init.return_value.finish.side_effect = finish
    made = tracker("trackio")
    made.begin(RUN)
    sender = threading.Thread(target=made.end, args=("done",))
    sender.start()
    begun.wait(5)
    print("a document")
    may_end.set()
    sender.join()
    assert capsys.readouterr() == ("a document\n", "sending\n")

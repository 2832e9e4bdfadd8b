"""Trackers hear of a run in a thread of their own, on one axis of steps, and whatever they do the run goes on."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe, events_of, only_run
from toy_world import STAGE_A, STAGE_B, STAGE_C, threshold

from engine.contracts import TrackedRun
from engine.recipe import load_recipe
from engine.reporting import outbox
from engine.reporting.outbox import Outbox
from engine.reporting.tracking import first_steps
from engine.runs.verify import shorten

RUN = TrackedRun("toy", "1-a", Path("runs/toy/1-a"), resumed=False, params={})

PLUGIN = '''
"""A tracker that writes down what it hears, and can be told to fail."""

import json
import threading

from pydantic import BaseModel

from engine.hookspecs import hookimpl


class Options(BaseModel):
    folder: str
    fails_at: str = ""


class Notebook:
    def __init__(self, options):
        self.options, self.where = options, options.folder

    def write(self, what, *heard):
        if what == self.options.fails_at:
            raise OSError("no server")
        line = json.dumps([what, threading.current_thread().name, *heard])
        with open(f"{self.options.folder}/heard.jsonl", "a") as file:
            file.write(line + "\\n")

    def begin(self, run):
        self.write("begin", run.name, run.id, run.resumed, dict(run.params))

    def figures(self, step, figures):
        self.write("figures", step, dict(figures))

    def tags(self, step, tags):
        self.write("tags", step, dict(tags))

    def end(self, status):
        self.write("end", status)


@hookimpl
def engine_trackers(register):
    register("notebook", Options, Notebook)
'''


class Slow:
    """A tracker that waits in `figures` until it may go on."""

    where = "far away"

    def __init__(self) -> None:
        self.may_go_on, self.heard = threading.Event(), list[Any]()

    def begin(self, run: TrackedRun) -> None:
        self.heard.append(run.id)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        assert self.may_go_on.wait(30)
        self.heard.append(step)


class Failing(Slow):
    """One that raises as long as `down`."""

    down = True

    def begin(self, run: TrackedRun) -> None:
        if self.down:
            raise OSError("nobody there")
        super().begin(run)


@pytest.fixture
def slow() -> Iterator[Slow]:
    """It goes on when the test is over, so that no thread stays."""
    made = Slow()
    yield made
    made.may_go_on.set()


def at(step: int) -> Callable[[Any], None]:
    return lambda tracker: tracker.figures(step, {})


def test_calls_arrive_in_order_and_the_run_begins_first(slow: Slow) -> None:
    box = Outbox("slow", slow, RUN)
    for step in range(3):
        box.put(at(step))
    assert slow.heard in ([], ["1-a"]), "nobody waited for it"
    slow.may_go_on.set()
    box.close()
    assert slow.heard == ["1-a", 0, 1, 2]
    assert (box.missed, box.failure) == (0, "")


def test_what_finds_no_room_is_dropped_and_counted(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "ROOM", 4)
    box = Outbox("slow", slow, RUN)
    for step in range(50):
        box.put(at(step))
    slow.may_go_on.set()
    box.close()
    arrived = len(slow.heard) - 1
    assert 3 <= arrived <= 5, "what waited, of which the first call was one, and what was under way"
    assert slow.heard[1:] == list(range(arrived))
    assert box.missed == 50 - arrived


def test_one_that_does_not_answer_holds_the_end_up_for_no_longer_than_patience(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PATIENCE", 0.2)
    box = Outbox("slow", slow, RUN)
    box.put(at(1))
    began = time.monotonic()
    box.close()
    assert time.monotonic() - began < 5
    assert box.missed == 1


def test_one_that_fails_is_left_alone_for_a_while_and_then_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Failing()
    tracker.may_go_on.set()
    box = Outbox("failing", tracker, RUN)
    for step in range(20):
        box.put(at(step))
    assert settled(lambda: box.failure)
    assert box.failure == "no answer: OSError: nobody there"
    tracker.down = False
    box.put(at(20))
    assert settled(lambda: box._waiting.empty())
    assert tracker.heard == [], "it is not asked again at once"
    monkeypatch.setattr(box, "_silent_until", 0.0)
    box.put(at(21))
    box.close()
    assert tracker.heard == ["1-a", 21]
    assert box.missed == box.given - 1


def test_that_the_run_is_over_is_told_after_a_failure_and_where_no_room_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hiccup(Slow):
        def figures(self, step: int, figures: Mapping[str, float]) -> None:
            raise OSError("come back later")

    monkeypatch.setattr(outbox, "ROOM", 1)
    tracker = Hiccup()
    box = Outbox("hiccup", tracker, RUN)
    assert settled(lambda: box.delivered)
    box.put(at(1))
    assert settled(lambda: box.failure)
    box.close(lambda told: told.heard.append("over"))
    assert tracker.heard == ["1-a", "over"]
    assert (box.given, box.missed) == (3, 1)


def test_a_password_in_an_address_is_told_to_nobody() -> None:
    class Secret(Slow):
        where = "http://ann:s3cr@t@host:5000"

        def begin(self, run: TrackedRun) -> None:
            raise OSError(f"request to {self.where}/api failed: GET http://host/@me")

    failing = Outbox("secret", Secret(), RUN)
    assert settled(lambda: failing.failure)
    assert str(failing) == "tracker 'secret' (http://host:5000)"
    assert failing.failure == "no answer: OSError: request to http://host:5000/api failed: GET http://host/@me"


def settled(condition: Callable[[], object]) -> bool:
    """Whether the other thread comes to it."""
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.001)
    return bool(condition())


@pytest.fixture
def notebook(toy_recipe: WriteRecipe, tmp_path: Path) -> Callable[..., Path]:
    """A toy recipe that is told to a notebook in the test's folder."""
    (tmp_path / "notebook.py").write_text(PLUGIN)

    def write(fails_at: str = "", **changes: Any) -> Path:
        path = toy_recipe(
            tracker=[{"plugin": "notebook", "folder": str(tmp_path), "fails_at": fails_at}],
            **{"stage": [STAGE_A, {**STAGE_B, "gate": [threshold("warn", max=9), threshold("warn", max=0.001)]}]}
            | changes,
        )
        path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "notebook.py"', 1))
        return path

    return write


def test_a_run_is_told_with_its_recipe_its_figures_and_its_verdicts(
    engine: Command, notebook: Callable[..., Path], tmp_path: Path
) -> None:
    done = engine("run", notebook())
    assert done.code == 0, done.err
    run = only_run(tmp_path)
    heard = heard_in(tmp_path)

    (begin,) = heard["begin"]
    assert begin[:3] == ["toy", run.name, False]
    assert begin[3]["stage.B.optimizer.lr"] == 0.02
    assert begin[3]["stage.B.gate.threshold.max"] == 9
    assert begin[3]["stage.B.gate.threshold.2.max"] == 0.001
    assert begin[3]["stage.A.trainable"] == '["base.**"]'
    assert not any(name.startswith("tracker") for name in begin[3])

    begins = {"A": 0, "B": 12}
    for name, figure in (("train/loss", "loss"), ("train/learning_rate", "learning_rate")):
        told = [(step, figures[name]) for step, figures in heard["figures"] if name in figures]
        assert told == [(begins[e["stage"]] + e["step"], e[figure]) for e in events_of(run, "step")]
    assert {"train/loss.square", "train/gradient_norm"} <= heard["figures"][1][1].keys()
    measured = [(step, f["val/error"], f.get("val-base/error")) for step, f in heard["figures"] if "val/error" in f]
    after = {event["stage"]: event["evaluation"] for event in events_of(run, "evaluated") if event["warp"] != "gt"}
    assert measured[-1] == (24, after["B"]["mean"]["error"], after["B"]["base_mean"]["error"])
    assert [step for step, figures in heard["figures"] if "val-gt/error" in figures] == [24]

    tags: dict[str, str] = {}
    for _, told in heard["tags"]:
        tags |= told
    assert tags["run"] == str(run)
    assert tags["status"] == "done"
    assert tags["report"] == str(run / "report.html")
    assert re.match(r"pass \(go on\): .*9", tags["gate.B.exit.threshold"])
    assert re.match(r"fail \(go on, overridden\): .*0\.001", tags["gate.B.exit.threshold.2"])
    assert heard["end"] == [["done"]]
    assert heard["threads"] == {"tracker notebook"}


def heard_in(folder: Path) -> dict[str, Any]:
    """What the notebook holds, by kind, and the threads that wrote it."""
    heard: dict[str, Any] = {"threads": set()}
    for what, thread, *told in map(json.loads, (folder / "heard.jsonl").read_text().splitlines()):
        heard.setdefault(what, []).append(told)
        heard["threads"].add(thread)
    return heard


@pytest.mark.parametrize("fails_at", ["begin", "figures", "end"])
def test_one_that_fails_is_named_once_and_the_run_ends_as_without_it(
    engine: Command, notebook: Callable[..., Path], tmp_path: Path, fails_at: str
) -> None:
    done = engine("run", notebook(fails_at))
    assert done.code == 0, done.err
    warnings = [event for event in events_of(only_run(tmp_path), "note") if event["level"] == "warning"]
    raises = next(number for number, line in enumerate(PLUGIN.splitlines(), 1) if "raise OSError" in line)
    assert [each["text"] for each in warnings] == [
        f"tracker 'notebook' ({tmp_path}) failed, and the run goes on without it: no answer: OSError: no server"
        f" ({tmp_path / 'notebook.py'}:{raises})"
    ]
    assert done.out.count("the run goes on without it") == 1
    assert re.search(r"missed \d+ of \d+ messages of this run", done.out)


def test_one_that_fails_and_does_not_say_where_it_is_ends_no_run_either(
    engine: Command, notebook: Callable[..., Path], tmp_path: Path
) -> None:
    path = notebook("begin")
    plugin = tmp_path / "notebook.py"
    plugin.write_text(
        plugin.read_text().replace("self.options, self.where = options, options.folder", "self.options = options")
    )
    done = engine("run", path)
    assert done.code == 0, done.err
    assert "tracker 'notebook' failed, and the run goes on without it: no answer: OSError: no server" in done.out


def test_stages_that_another_run_has_trained_are_told_with_their_figures(
    engine: Command, notebook: Callable[..., Path], tmp_path: Path
) -> None:
    """And whom a run is told to changes no key: all of it is taken."""
    path = notebook()
    assert engine("run", path, "--set", "tracker=[]").code == 0
    first = only_run(tmp_path)
    assert not (tmp_path / "heard.jsonl").exists()

    done = engine("run", path)
    assert done.code == 0, done.err
    heard = heard_in(tmp_path)
    told = [(step, figures["val/error"]) for step, figures in heard["figures"] if "val/error" in figures]
    after = [event for event in events_of(first, "evaluated") if event["warp"] != "gt" and event["moment"] != "before"]
    assert [each for each in told if each[0]] == [
        ({"A": 12, "B": 24}[event["stage"]], event["evaluation"]["mean"]["error"]) for event in after
    ]
    assert not any("train/loss" in figures for _, figures in heard["figures"])
    verdicts = [name for _, tags in heard["tags"] for name in tags if name.startswith("gate")]
    assert verdicts == ["gate.B.exit.threshold", "gate.B.exit.threshold.2"]


def test_a_stage_whose_parent_was_trained_further_is_told_too_where_it_is_taken(
    engine: Command, notebook: Callable[..., Path], tmp_path: Path
) -> None:
    gate = {**threshold("extend", "entry", max=0.67), "extend": {"steps": 4, "times": 2}}
    path = notebook(stage=[STAGE_A, {**STAGE_B, "gate": [gate]}])
    assert engine("run", path, "--set", "tracker=[]").code == 0
    assert (only_run(tmp_path) / "stage-A+1-for-B").is_dir()
    done = engine("run", path)
    assert done.code == 0, done.err
    told = heard_in(tmp_path)["figures"]
    assert [step for step, figures in told if "val/error" in figures] == [0, 12, 16, 32]


def test_a_run_is_resumed_whoever_was_told_of_it(
    engine: Command, notebook: Callable[..., Path], tmp_path: Path
) -> None:
    path = notebook()
    assert engine("run", path, "--set", "tracker=[]").code == 0
    (only_run(tmp_path) / "status.json").unlink()
    done = engine("run", path, "--resume")
    assert done.code == 0, done.err
    heard = heard_in(tmp_path)
    assert heard["begin"][0][2] is True
    assert "figures" not in heard, "the part before this one told them"
    assert heard["end"] == [["done"]]


def test_every_run_of_a_recipe_has_the_same_axis_extended_or_not(toy_recipe: WriteRecipe) -> None:
    extended = {**threshold("extend", "entry", max=1.0), "extend": {"steps": 5, "times": 2}}
    path = toy_recipe(stage=[STAGE_A, {**STAGE_B, "gate": [extended]}, STAGE_C])
    assert first_steps(load_recipe(path)) == {"A": 0, "A+1-for-B": 12, "A+2-for-B": 17, "B": 22, "C": 34}


def test_nobody_is_told_of_the_runs_that_prove_resuming(notebook: Callable[..., Path]) -> None:
    recipe = load_recipe(notebook())
    assert recipe.trackers
    assert shorten(recipe, 4)[0]["tracker"] == []


def test_a_tracker_is_checked_where_it_stands_and_set_by_its_name(
    engine: Command, notebook: Callable[..., Path]
) -> None:
    path = notebook()
    wrong = engine("check", path, "--set", "tracker.notebook.fails_att=begin")
    assert wrong.code == 2
    assert "tracker.notebook.fails_att" in wrong.err
    assert "'fails_at'" in wrong.err
    path.write_text(path.read_text().replace('plugin = "notebook"', 'plugin = "notbook"'))
    row = next(number for number, line in enumerate(path.read_text().splitlines(), 1) if "notbook" in line)
    unknown = engine("check", path)
    assert unknown.code == 2
    assert f"{path}:{row}:" in unknown.err
    assert "no plugin brings the tracker 'notbook'. Did you mean 'notebook'" in unknown.err

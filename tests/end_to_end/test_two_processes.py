"""Two processes learn, measure, stop and resume as one does; only the first of them writes and tells."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from toy_world import STAGE_A, STAGE_B, STAGE_C

from engine.data.loader import Order

FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP",
    "FSDP_MIN_NUM_PARAMS": "30",
}

HELPERS = '''
"""Slow steps, a record of what each process learnt from, and faults where a variable asks for them."""
import gc, os, signal, time
from pathlib import Path
from engine.contracts import Verdict
from engine.hookspecs import hookimpl
from engine.system import System
from toy_plugin import DataOptions, Options, ToyData, ToyLoss

RANK = os.environ.get("RANK", "0")

def fault(where):
    if os.environ.get("FAULT", "").split(" ")[:2] == [where, RANK]:
        kind = os.environ["FAULT"].split(" ")[2]
        if kind == "raise":
            raise ValueError("a broken sample")
        os.kill(os.getpid(), signal.Signals[kind])

class Seen(ToyLoss):
    def __call__(self, prediction, batch):
        if prediction.value.requires_grad:
            with Path(f"seen-{RANK}").open("a") as file:
                print(*batch["id"], file=file)
        return super().__call__(prediction, batch)

class Faulty(ToyData):
    def sample(self, index, rng):
        if index == 5 and rng is not None:
            fault("sample")
        return super().sample(index, rng)

class Watched:
    def __init__(self, options):
        self.calls = 0
    def __call__(self, prediction, batch):
        self.calls += 1
        if self.calls == 7:
            fault("measuring")
        return {}

@hookimpl
def engine_losses(register):
    register("seen", Options, Seen)

@hookimpl
def engine_datasets(register):
    register("faulty", DataOptions, Faulty)

@hookimpl
def engine_metrics(register):
    register("watched", Options, Watched, produces=lambda options: [])

@hookimpl
def engine_gates(register):
    register("contrary", Options, lambda options: lambda context: Verdict(os.environ["SAYS_" + RANK], "so it is"))

@hookimpl
def engine_stage_started(event):
    if "COUNT" in os.environ:
        gc.collect()
        with Path("systems").open("a") as file:
            print(event.name, sum(type(each) is System for each in gc.get_objects()), file=file)

@hookimpl
def engine_step(event):
    time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
'''


@pytest.fixture
def helped(toy_recipe: WriteRecipe, tmp_path: Path) -> WriteRecipe:
    """toy_recipe(...) with the helpers above among its plugins."""
    (tmp_path / "helpers.py").write_text(HELPERS)

    def write(**changes: object) -> Path:
        path = toy_recipe(**changes)
        path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "helpers.py"'))
        return path

    return write


@pytest.mark.parametrize("sharding", [{}, FSDP], ids=["copies", "shards"])
def test_two_processes_learn_at_every_step_what_one_learns(
    two: Command, engine: Command, helped: WriteRecipe, tmp_path: Path, sharding: dict[str, str]
) -> None:
    train = {"ema": 0.5, "accumulate": 2, "log_every": 1, "losses": [{"name": "seen"}]}
    evaluate = {"batch_size": 4}  # three batches of ten samples: two for one process, one for the other
    done = two("run", helped(train={**train, "batch_size": 2}, evaluate=evaluate), **sharding)
    assert done.code == 0, done.err
    run = only_run(tmp_path)
    seen = [(tmp_path / f"seen-{rank}").read_text().splitlines() for rank in "01"]
    recipe = helped(file="one.toml", train={**train, "batch_size": 4}, evaluate=evaluate)
    (tmp_path / "seen-0").unlink()
    assert engine("run", recipe, "--runs", "alone").code == 0
    (alone,) = (tmp_path / "alone" / "toy").iterdir()

    whole = (tmp_path / "seen-0").read_text().splitlines()
    shares = [sorted(f"{one} {other}".split()) for one, other in zip(*seen, strict=True)]
    assert shares == [sorted(batch.split()) for batch in whole], (
        "the two have one batch between them, and no sample twice"
    )
    assert [event["event"] for event in events_of(run)] == [event["event"] for event in events_of(alone)]
    for ours, theirs in zip(events_of(run, "step"), events_of(alone, "step"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-6), ours
        assert ours["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-5), ours
    for stage in "ABC":
        one, other = weights_of(alone, stage), weights_of(run, stage)
        for name in one:
            torch.testing.assert_close(other[name], one[name], atol=1e-6, rtol=0)
    measured = "stage-A/evaluation-before-off.json"  # by the same weights: bit for bit
    assert json.loads((run / measured).read_text()) == json.loads((alone / measured).read_text())
    assert (tmp_path / "printed-0").read_text().count("held-out data") == 1
    assert (tmp_path / "printed-1").read_text() == "", "one process tells, the other is quiet"


@contextmanager
def signalled(folder: Path, steps: int) -> Iterator[None]:
    """Send SIGTERM to this process once a run in `folder` has told of so many steps."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            logs = list(folder.glob("runs/toy/*/events.jsonl"))
            if logs and logs[0].read_text().count('"event": "step"') >= steps:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@pytest.mark.parametrize("sharding", [{}, FSDP], ids=["copies", "shards"])
def test_two_processes_that_are_told_to_stop_leave_at_one_step_and_resume_identically(
    two: Command, engine: Command, helped: WriteRecipe, tmp_path: Path, sharding: dict[str, str]
) -> None:
    train = {"batch_size": 2, "ema": 0.5, "log_every": 1}
    path = helped(model={"dropout": 0.3, "norm": True}, train=train)  # every process drops other numbers
    assert two("run", path, "--runs", "untouched", **sharding).code == 0
    (untouched,) = (tmp_path / "untouched" / "toy").iterdir()

    with signalled(tmp_path, steps=15):
        stopped = two("run", path, STEP_SECONDS="0.05", **sharding)
    run = only_run(tmp_path)
    assert stopped.code == 5, stopped.err
    assert stopped.err.count("stopped by SIGTERM at step") == 1, "told once"
    assert stopped.err.strip().endswith(f"go on with: engine run {Path('runs/toy') / run.name} --resume --processes 2")
    assert json.loads((run / "status.json").read_text())["status"] == "interrupted"
    assert 15 <= len(events_of(run, "step")) < 36

    alone = engine("run", run, "--resume")
    assert alone.code == 2
    assert "started with 2 processes and is resumed with 1" in alone.err
    assert "--processes 2" in alone.err

    resumed = two("run", run, "--resume", **sharding)
    assert resumed.code == 0, resumed.err
    for stage in "ABC":
        one, other = weights_of(untouched, stage), weights_of(run, stage)
        assert all(torch.equal(one[name], other[name]) for name in one), stage
    figures = ("stage", "step", "loss", "gradient_norm")
    told = [[[event[name] for name in figures] for event in events_of(each, "step")] for each in (run, untouched)]
    assert told[0] == told[1]


def test_a_signal_to_one_process_while_both_measure_stops_both(
    two: Command, helped: WriteRecipe, tmp_path: Path
) -> None:
    metrics = [{"name": "error"}, {"name": "watched"}]
    train = {"batch_size": 2, "evaluate_every": 5}
    path = helped(train=train, stage=[STAGE_A], evaluate={"batch_size": 1, "metrics": metrics})
    assert two("run", path, "--runs", "untouched").code == 0
    (untouched,) = (tmp_path / "untouched" / "toy").iterdir()
    stopped = two("run", path, FAULT="measuring 1 SIGTERM")
    assert stopped.code == 5, stopped.err
    assert "while it was measured" in stopped.err
    assert two("run", only_run(tmp_path), "--resume").code == 0
    one, other = weights_of(untouched, "A"), weights_of(only_run(tmp_path), "A")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", "error data.train (faulty) failed at sample 5: ValueError: a broken sample (FILE:16)"),
        ("SIGKILL", "error process 1 of 2 was killed by SIGKILL; go on from the last checkpoint with --resume"),
    ],
)
def test_a_process_that_fails_alone_ends_the_other_and_is_told_once(
    two: Command, engine: Command, helped: WriteRecipe, tmp_path: Path, how: str, words: str
) -> None:
    began = time.monotonic()
    failed = two("run", helped(data={"train": {"plugin": "faulty"}}), FAULT=f"sample 1 {how}")
    assert failed.code == 1
    assert failed.err.replace(str(tmp_path / "helpers.py"), "FILE").splitlines() == [words]
    assert time.monotonic() - began < 60, "the other does not wait for it until torch's patience ends"

    alone = engine("run", only_run(tmp_path), "--resume")
    assert alone.code == 2, "no checkpoint has been written, and the run is one of two processes all the same"
    assert "started with 2 processes and is resumed with 1" in alone.err


ENDS = """
import atexit, os
from pathlib import Path

def tell():
    threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    Path(f"ended-{os.environ.get('RANK')}").write_text("".join(sorted(each for each in threads if "gloo" in each)))

atexit.register(tell)  # the last to be done, since it is the first to be asked for
"""


def test_the_threads_of_a_group_end_before_the_interpreter(
    process: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "ends.py").write_text(ENDS)
    path = toy_recipe(stage=[{**STAGE_A, "steps": 2}], train={"batch_size": 2})
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "ends.py"'))
    done = process("run", path, "--processes", "2", ACCELERATE_USE_CPU="true")
    assert done.code == 0, done.err
    left = [(tmp_path / f"ended-{rank}").read_text() for rank in "01"]
    assert left == ["", ""], "one that is at work when the interpreter ends aborts the process"


def test_the_systems_of_finished_stages_take_no_memory(two: Command, helped: WriteRecipe, tmp_path: Path) -> None:
    done = two("run", helped(stage=[{**stage, "steps": 1} for stage in (STAGE_A, STAGE_B, STAGE_C)]), COUNT="1")
    assert done.code == 0, done.err
    assert (tmp_path / "systems").read_text().splitlines() == ["A 0", "B 0", "C 0"]


def test_the_first_process_decides_at_gates(two: Command, helped: WriteRecipe, tmp_path: Path) -> None:
    path = helped(stage=[{**STAGE_A, "steps": 1, "gate": [{"check": "contrary", "at": "exit"}]}])
    assert two("run", path, "--runs", "passed", SAYS_0="pass", SAYS_1="fail").code == 0
    refused = two("run", path, SAYS_0="fail", SAYS_1="pass")
    assert refused.code == 4
    assert refused.err.splitlines() == ["error gate 'contrary' at the exit of stage A says fail: so it is"]
    assert json.loads((only_run(tmp_path) / "status.json").read_text())["status"] == "refused"


def test_numbers_that_are_not_finite_in_one_process_end_both_with_3(two: Command, toy_recipe: WriteRecipe) -> None:
    ((_, spoilt), *_) = Order(24, 2, 0, "A", (1, 2)).draws(3)
    path = toy_recipe(train={"batch_size": 2}, stage=[STAGE_A], data={"train": {"spoil": spoilt}})
    failed = two("run", path)
    assert failed.code == 3, failed.err
    assert failed.err.count("not finite at step 3") == 1


def test_a_batch_of_one_process_that_is_not_finite_is_left_out_by_both(
    two: Command, engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    train = {"nonfinite": {"policy": "skip"}, "ema": 0.5, "log_every": 1}
    common = {"stage": [{**STAGE_A, "steps": 6}], "data": {"train": {"spoil": 1}}}  # an epoch: each sample once
    assert two("run", toy_recipe(**common, train={**train, "batch_size": 2})).code == 0
    recipe = toy_recipe(file="one.toml", **common, train={**train, "batch_size": 4})
    assert engine("run", recipe, "--runs", "alone").code == 0
    (alone,) = (tmp_path / "alone" / "toy").iterdir()
    run = only_run(tmp_path)
    assert [events_of(each, "step")[-1]["skipped"] for each in (run, alone)] == [1, 1]
    one, other = weights_of(alone, "A"), weights_of(run, "A")
    for name, tensor in one.items():
        assert tensor.isfinite().all()
        torch.testing.assert_close(other[name], tensor, atol=1e-6, rtol=0)


def test_what_cannot_be_done_in_several_processes_is_refused_in_words(
    two: Command, engine: Command, toy_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toy_recipe()
    old = two("run", path, **{**FSDP, "FSDP_VERSION": "1"})
    assert old.code == 2
    assert "FSDP was asked for with fsdp_version 1" in old.err
    compiled = two("run", toy_recipe(train={"compile": True}, file="compiled.toml"), **FSDP)
    assert compiled.code == 2
    assert "FSDP was asked for with compile = true, which the engine does not support" in compiled.err
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    few = engine("run", path, "--processes", "2")
    assert few.code == 2
    assert "--processes 2 needs as many GPUs, and this machine has 1" in few.err
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert "does not train with DeepSpeed" in engine("run", path).err
    monkeypatch.setenv("WORLD_SIZE", "4")
    other = engine("run", path, "--processes", "2")
    assert other.code == 2
    assert "--processes 2 was asked for in one of 4 processes that a launcher started" in other.err

"""Data workers that are killed, and workers that must not be."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader
from toy_plugin import DataOptions, ToyData

from engine.data.loader import Order, training_batches
from engine.data.workers import fetched
from engine.errors import WorldError
from engine.prediction import Batch


class Ending(ToyData):
    """A worker that reads sample 3 comes to an end."""

    def __init__(self, how: str) -> None:
        super().__init__(DataOptions(count=8, size=2))
        self.how = how

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        if index == 3 and self.how == "exits":
            os._exit(3)
        if index == 3 and self.how in signal.Signals.__members__:
            faulthandler.disable()  # pytest's report of a crash is not what is tested
            os.kill(os.getpid(), signal.Signals[self.how])
        return super().sample(index, rng)


def batches(how: str, last: int = 40) -> Iterator[Batch]:
    return training_batches(Ending(how), Order(8, 2, 0, "A"), 0, last, workers=2, pin=False)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("SIGKILL", "one of 2 data workers was killed by SIGKILL, as the system does when memory runs out; "),
        ("SIGBUS", r"killed by SIGBUS, as the system does when shared memory \(/dev/shm\) runs out; "),
        ("SIGABRT", "killed by SIGABRT; "),
        ("exits", "one of 2 data workers ended with code 3; "),
    ],
)
def test_a_worker_that_dies_is_told_with_its_cause_and_the_way_on(how: str, words: str) -> None:
    with pytest.raises(WorldError, match=f"{words}.*--resume"):
        list(batches(how))


def test_a_worker_killed_between_two_batches_is_found_before_the_next() -> None:
    running = batches("", last=1000)
    next(running)
    (first, _) = multiprocessing.active_children()
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    before = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(WorldError, match="killed by SIGKILL"):
        next(running)
    assert signal.getsignal(signal.SIGCHLD) is before


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Where something waits for ever, the test fails instead."""

    def failed(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, failed)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("no_waiting")
def test_a_worker_that_took_a_lock_of_torchs_along_is_not_waited_for() -> None:
    running = fetched(DataLoader(list(range(8)), num_workers=2, multiprocessing_context="fork"), "numbers")
    next(running)
    event = running.gi_frame.f_locals["batches"]._workers_done_event
    event._cond.acquire()  # as a worker does that is killed while it looks whether it is to end
    first, *_ = multiprocessing.active_children()
    first.kill()
    first.join()
    with pytest.raises(WorldError, match="killed by SIGKILL"):
        next(running)
    gc.collect()  # here torch ends the loader at the latest
    assert multiprocessing.active_children() == []


def _closes_its_files_and_dies_later() -> None:
    os.closerange(3, 1024)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


class Broken:
    """Stands for a loader that fails to read what its dying worker has sent."""

    num_workers = 1

    def __init__(self) -> None:
        self.worker = multiprocessing.get_context("fork").Process(target=_closes_its_files_and_dies_later)

    def __iter__(self) -> Broken:
        self.worker.start()
        return self

    def __next__(self) -> Batch:
        wait([self.worker.sentinel])
        raise ConnectionResetError(104, "Connection reset by peer")


def test_a_worker_whose_files_close_before_it_is_dead_is_told_all_the_same() -> None:
    with pytest.raises(WorldError, match="killed by SIGKILL"):
        next(fetched(Broken(), "data.train"))  # type: ignore[arg-type]  # stands for a DataLoader


def test_what_asks_a_run_to_stop_leaves_its_workers_alone() -> None:
    running = batches("", last=1000)
    next(running)
    workers = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        for worker in workers:
            os.kill(worker.pid or 0, number)
    for _ in range(20):
        next(running)
    assert [worker.exitcode for worker in workers] == [None, None]
    workers[0].terminate()
    workers[0].join()
    assert workers[0].exitcode == -signal.SIGTERM, "a second SIGTERM ends one that does not answer"
    with pytest.raises(WorldError, match="killed by SIGTERM"):
        next(running)


def test_workers_end_with_the_batches() -> None:
    others = multiprocessing.active_children()
    running = batches("")
    next(running)
    workers = [child for child in multiprocessing.active_children() if child not in others]
    assert len(workers) == 2
    running.close()  # type: ignore[attr-defined]  # a generator
    assert [worker.exitcode for worker in workers] == [0, 0]


def _ends_while_an_error_holds_the_workers() -> None:
    running = batches("", last=1000)
    next(running)
    try:
        raise RuntimeError("on purpose")
    except RuntimeError:
        raise SystemExit(5) from None


def test_a_process_ends_though_its_workers_pass_over_the_first_sigterm() -> None:
    process = multiprocessing.get_context("fork").Process(target=_ends_while_an_error_holds_the_workers)
    process.start()
    process.join(30)
    ended = process.exitcode
    process.kill()
    assert ended == 5

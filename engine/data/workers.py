"""Data workers outlive the signals that ask a run to stop, and the death of one is told in words."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from types import FrameType
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader

from engine.errors import WorldError

T = TypeVar("T")

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""What asks a run to stop. A terminal and a scheduler send it to the whole process group."""

CAUSES = {
    -signal.SIGKILL: ", as the system does when memory runs out",
    -signal.SIGBUS: ", as the system does when shared memory (/dev/shm) runs out",
}


DYING = 5.0
"""Seconds that a worker is given to be dead once it no longer answers; a core dump takes its time."""


def in_worker(number: int) -> None:
    """The first thing a worker does: the main process needs it until the step is done, and ends it itself.

    SIGINT and SIGUSR1 pass by. So does the first SIGTERM; the next one ends the worker, because torch and Python use it
    on one that does not answer.
    """
    # Functions and not SIG_IGN, which a program that the data set starts would inherit.
    signal.signal(signal.SIGINT, _pass)
    signal.signal(signal.SIGUSR1, _pass)
    signal.signal(signal.SIGTERM, _pass_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _pass(number: int, frame: FrameType | None) -> None:
    pass


def _pass_once(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)


def loaded(dataset: torch.utils.data.Dataset[Any], source: str, workers: int, **how: Any) -> Iterator[Any]:
    """What a DataLoader of `dataset` brings, in this process or from `workers`; `how` are its further arguments."""
    loader: DataLoader[Any] = DataLoader(
        dataset,
        num_workers=workers,
        worker_init_fn=in_worker,
        # Forked workers share the data set as it is; spawned ones could not import the plugin files of a recipe.
        multiprocessing_context="fork" if workers else None,
        # Else every new iterator draws from the global generator, and dropout after a resume would differ.
        generator=torch.Generator(),
        **how,
    )
    return fetched(loader, source) if workers else iter(loader)


def fetched(loader: DataLoader[T], source: str) -> Iterator[T]:
    """What a loader with workers brings; WorldError naming the data set `source` when a worker dies."""
    others = multiprocessing.active_children()
    with _undisturbed_start():
        batches = iter(loader)
    workers = [child for child in multiprocessing.active_children() if child not in others]
    # A process that ends while an error still holds the loader would send one SIGTERM and wait for ever.
    at_exit = Finalize(None, _kill, (workers,), exitpriority=0)
    while True:
        try:
            if any(worker.exitcode for worker in workers):
                raise EOFError("a worker has ended")
            batch = next(batches)  # while it waits, torch looks every five seconds whether the workers live
        except StopIteration:
            break
        except (RuntimeError, OSError, EOFError) as error:
            # torch tells of a dead worker by a RuntimeError, or fails to read what a dying one has sent.
            gone = wait([worker.sentinel for worker in workers], timeout=DYING)
            for worker in workers:
                if worker.sentinel in gone:
                    worker.join()  # a process closes its files a moment before it has an exit code
            ended = [worker.exitcode for worker in workers if worker.exitcode is not None]
            if ended or len(workers) < loader.num_workers:
                code = next(filter(None, ended), 0)
                _kill(workers)
                # A worker that is killed while it looks at this event takes the event's lock along, and torch, which
                # ends its workers by it, would wait for that lock for ever. Nobody else needs the old one any more.
                vars(batches)["_workers_done_event"] = multiprocessing.get_context("fork").Event()
                raise WorldError(f"{source}: {_told(code, loader.num_workers)}") from error
            raise
        try:
            yield batch
        except GeneratorExit:
            break
    del batches  # torch ends the workers
    at_exit.cancel()


@contextmanager
def _undisturbed_start() -> Iterator[None]:
    """Start workers so that no stop reaches one before `in_worker`, and without the handler that torch sets.

    It raises where the main process happens to be when a worker dies: in the middle of a step, in a plugin's name.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def _kill(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        worker.kill()


def _told(code: int, workers: int) -> str:
    ended = f"ended with code {code}" if code >= 0 else f"was killed by {_name(-code)}{CAUSES.get(code, '')}"
    return (
        f"one of {workers} data workers {ended}; `engine run RECIPE --resume` goes on from the last checkpoint, and "
        "fewer workers or smaller batches need less memory"
    )


def _name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"

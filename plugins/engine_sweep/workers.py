"""Trials one after the other in this process, or in several that share the study's file."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.reduction import DupFd
from multiprocessing.synchronize import Semaphore
from types import FrameType
from typing import IO, Any

from engine.errors import EngineError, InputError, InterruptedRunError, WorldError
from engine_sweep.study import ask, counted, in_words, open_study, places
from engine_sweep.sweep import Sweep
from engine_sweep.trial import carry_out

START = "spawn"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Those that stop a run after its step."""


class Stop:
    """Whether a signal asked to stop; told to `also`, and a second one has its usual effect."""

    def __init__(self, also: Callable[[int], None] = lambda number: None) -> None:
        self.asked = ""
        self._also = also

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        if self.asked:
            self._also(signal.SIGKILL)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.asked = signal.Signals(number).name
        self._also(number)

    def check(self, where: str) -> None:
        """InterruptedRunError when a stop was asked for; `where` says what had to be left."""
        if self.asked:
            raise InterruptedRunError(f"stopped by {self.asked} {where}")


@contextmanager
def stopping(stop: Stop) -> Iterator[Stop]:
    """Have `stop` hear signals in the body; a run in it hears them itself, and passes on those it cannot heed."""
    before = {each: signal.signal(each, stop) for each in SIGNALS}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # a worker begins with them blocked, and hears them now
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Lock:
    """A locked file that workers hold too: it is free when the last process that has it is gone, however it died.

    So there is no moment, and no worker that is slow to start, at which a sweep whose first process was killed looks
    as if nobody were at work.
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Lock], tuple[Any, ...]]:
        return _inherited, (DupFd(self.file.fileno()),)


def _inherited(number: Any) -> Lock:
    lock = Lock(os.fdopen(number.detach(), "a+"))
    os.set_inheritable(lock.file.fileno(), False)
    os.register_at_fork(after_in_child=lock.file.close)  # data workers live on for seconds
    return lock


def work(sweep: Sweep, permits: Semaphore, say: Callable[[str], None]) -> None:
    """Carry out trials while there are permits; InterruptedRunError after a signal."""
    with in_words(sweep), stopping(Stop()) as stop:
        study = open_study(sweep)
        stop.check("before a trial")
        while permits.acquire(block=False):
            trial = ask(sweep, study)
            ended = carry_out(sweep, study, trial, lambda: stop.asked)
            place = places(study.get_trials(deepcopy=False))[trial.number]
            values = ", ".join(f"{key} = {_short(value)}" for key, value in trial.params.items())
            say(f"trial {place}: {ended}; {values}")
            stop.check(f"after trial {place}")


def work_together(sweep: Sweep, lock: Lock, count: int, trials: int, told_on_error: bool) -> None:
    """Carry out so many trials in `count` processes; raises what the first of them to fail raised.

    A signal is handed on to all of them. When this process dies, they stop after their step. `lock` is theirs as well.
    """
    context = multiprocessing.get_context(START)
    permits, endings = context.Semaphore(trials), context.SimpleQueue()
    # Read when torch is imported. Without it every process would take all cores, and each wait for the others.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // count, 1)))
    processes: list[BaseProcess] = []

    def hand_on(number: int) -> None:
        for each in processes:
            if each.is_alive():
                os.kill(each.pid, number)

    with stopping(Stop(hand_on)) as stop:
        # A signal waits until there are all to hand it on to, and in each until it can heed it: a process begins with
        # what is blocked here, and takes seconds to start.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            for _ in range(min(count, trials)):
                arguments = (sweep, lock, permits, endings, told_on_error)
                processes.append(context.Process(target=_worker, args=arguments))
                processes[-1].start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        waited_for = {process.sentinel: process for process in processes}
        failed: list[BaseProcess] = []
        while waited_for:
            for sentinel in wait(list(waited_for)):
                process = waited_for.pop(sentinel)
                process.join()
                if process.exitcode != 0:
                    failed.append(process)
                    if len(failed) == 1 and not stop.asked:
                        hand_on(signal.SIGTERM)  # the others save what they have
    if failed:
        raise _cause(failed[0], endings)


def _worker(sweep: Sweep, lock: Lock, permits: Semaphore, endings: SimpleQueue, told_on_error: bool) -> None:
    """One process of several, which has the lock for as long as it lives.

    In a session of its own: a key on the terminal reaches it through the first one alone.
    """
    os.setsid()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    stream = sys.stderr if told_on_error else sys.stdout
    try:
        work(sweep, permits, lambda text: print(text, file=stream, flush=True))
    except EngineError as error:
        advice = error.advice if isinstance(error, InputError) else ""
        endings.put((os.getpid(), error.exit_code, str(error), advice))
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder that may not be written to
        endings.put((os.getpid(), WorldError.exit_code, str(error), ""))
        sys.exit(WorldError.exit_code)


def _leave_with_parent() -> None:
    """Stop politely when the first process is gone, however it died."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has been started by another process"
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _cause(process: BaseProcess, endings: SimpleQueue) -> EngineError:
    """The error that ended a worker, with the class that its exit code stands for."""
    told = {}
    while not endings.empty():
        worker, *ending = endings.get()
        told[worker] = ending
    if process.pid not in told:
        code = process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return WorldError(f"a worker of the sweep {how}; the same command goes on")
    code, text, advice = told[process.pid]
    if code == InputError.exit_code:
        return InputError(text, advice)
    return InterruptedRunError(text) if code == InterruptedRunError.exit_code else WorldError(text)


def left(sweep: Sweep, study: Any, trials: int) -> int:
    """How many of so many trials are to be carried out yet."""
    return max(trials - len(counted(study)), 0)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

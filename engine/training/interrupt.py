"""A polite stop: the first signal lets the step finish and the checkpoint be written, a second one stops at once."""

from __future__ import annotations

import _thread
import atexit
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType

import torch

from engine.errors import InterruptedRunError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
ECHO = 5.0
"""Seconds in which a launched process takes further signals for the first one again: the scheduler signals the whole
group, and the launcher hands on to its processes what it got itself."""


class StopRequest:
    """Whether somebody asked the run to stop; signals within `echo` seconds of the first count as the same one.

    tell: hears at once, in a thread of its own, what follows the first one.
    """

    def __init__(self, echo: float = 0.0, tell: Callable[[str], None] | None = None) -> None:
        self.signal: str | None = None
        self.echo = echo
        self.tell = tell
        self._first = 0.0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: remember the first signal, let the next one have its usual effect."""
        if self.signal is None:
            self.signal, self._first = signal.Signals(number).name, time.monotonic()
            if self.echo == 0:
                for each in SIGNALS:
                    signal.signal(each, signal.SIG_DFL)
            if self.tell is not None:
                again = "" if self.echo else "; another one stops at once"
                # Not in this thread, which may hold the console's lock just now; and not by `threading`, whose own lock
                # it may hold too.
                _thread.start_new_thread(self.tell, (f"  {self.signal}: stops after this step, and saves{again}",))
        elif time.monotonic() - self._first > self.echo:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    @property
    def cause(self) -> str:
        """Why this process stops, which it may do because another one was asked to."""
        return self.signal or "a signal to another process"

    def check(self, where: str) -> None:
        """Raise InterruptedRunError when a stop was asked for; `where` says what had to be left."""
        if self.signal is not None:
            raise InterruptedRunError(f"stopped by {self.signal} {where}")


@contextmanager
def stop_on_signal(echo: float = 0.0, tell: Callable[[str], None] | None = None) -> Iterator[StopRequest]:
    """Turn signals into a request while the body runs; outside the main thread signals are left alone.

    echo, tell: as in StopRequest. A signal that comes too late for the body to heed goes to the handler that the
    program had set itself, if any.
    """
    request = StopRequest(echo, tell)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {each: signal.signal(each, request.note) for each in SIGNALS}
    try:
        yield request
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if request.signal is not None:  # and the body ended well: a program that goes on to the next run must hear of it
        number = signal.Signals[request.signal]
        handler = before[number]
        if callable(handler) and handler is not signal.default_int_handler:
            handler(number, None)


def host_group() -> torch.distributed.ProcessGroup:
    """The group in which processes tell each other what concerns their hosts alone; all ask for it at the same point.

    It speaks gloo. By NCCL every word would lie on the device, and to read it would be to wait for all that the device
    has been asked for before.
    """
    if torch.distributed.get_backend() != torch.distributed.Backend.GLOO:
        return _beside_devices()
    whole: torch.distributed.ProcessGroup | None = torch.distributed.group.WORLD
    assert whole is not None, "there are several processes"
    return whole


@cache
def _beside_devices() -> torch.distributed.ProcessGroup:
    group: torch.distributed.ProcessGroup | None = torch.distributed.new_group(backend="gloo")
    assert group is not None, "every process belongs to it"
    atexit.register(_leave)
    return group


def _leave() -> None:
    """Leave the group and forget it: else its threads may outlive the interpreter, which aborts a sound process."""
    torch.distributed.destroy_process_group(_beside_devices())
    _beside_devices.cache_clear()


class Agreement:
    """Lets several processes leave at the same step.

    Every process asks the others at each step and hears their answer at the next one, so that no step waits for it.
    group: where it asks, None where it is alone.
    """

    def __init__(self, stop: StopRequest, group: torch.distributed.ProcessGroup | None) -> None:
        self.stop = stop
        self.group = group
        self._asked: tuple[torch.Tensor, torch.distributed.Work] | None = None

    def to_stop(self) -> bool:
        """Whether to leave after this step; the same in every process."""
        if self.group is None:
            return self.stop.signal is not None
        heard = self._asked
        flag = torch.tensor(float(self.stop.signal is not None), device="cpu")
        work = torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, self.group, async_op=True)
        assert work is not None, "asynchronous calls give the work to wait for"
        self._asked = flag, work
        if heard is None:
            return False
        heard[1].wait()
        return bool(heard[0])


class Company:
    """Keeps several processes together while one of them works alone, however long that takes.

    The one that works beats now and then, and so do the others, all the time: each beat waits for everybody.
    """

    def __init__(self, stop: StopRequest, group: torch.distributed.ProcessGroup) -> None:
        self.stop = stop
        self.group = group

    def beat(self, working: bool, where: str) -> bool:
        """Whether a process is still `working`; the same in every process.

        InterruptedRunError in all of them when one was asked to stop, so that the work, `where`, is left.
        """
        said = torch.tensor([self.stop.signal is not None, working], dtype=torch.float32, device="cpu")
        torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX, self.group)
        asked, goes_on = said.tolist()
        if asked and goes_on:
            raise InterruptedRunError(f"stopped by {self.stop.cause} {where}")
        return bool(goes_on)

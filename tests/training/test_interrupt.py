from __future__ import annotations

import os
import signal
import threading

import pytest

from engine.training.interrupt import SIGNALS, StopRequest, stop_on_signal


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_the_second_has_its_usual_effect(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with stop_on_signal() as request:
        assert request.signal is None
        os.kill(os.getpid(), number)
        assert request.signal == number.name
        assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_DFL] * len(SIGNALS)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_other_threads_leave_signals_alone() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    seen: list[tuple[list[object], StopRequest]] = []

    def body() -> None:
        with stop_on_signal() as request:
            seen.append(([signal.getsignal(each) for each in SIGNALS], request))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    ((during, request),) = seen
    assert during == before
    assert request.signal is None

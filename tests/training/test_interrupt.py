from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import Command, WriteRecipe
from torch import distributed
from toy_world import PLUGIN, STAGE_A

from engine.errors import InterruptedRunError
from engine.training import interrupt
from engine.training.interrupt import SIGNALS, Agreement, Company, StopRequest, host_group, stop_on_signal

LONG_STEP = """
import os, signal, time
from toy_plugin import Options, ToyLoss
from engine.hookspecs import hookimpl

class Long(ToyLoss):
    calls = 0

    def __init__(self, options):
        Long.calls = 0

    def __call__(self, prediction, batch):
        Long.calls += 1
        if Long.calls == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1.0)
            print("the step is over", flush=True)
        return super().__call__(prediction, batch)

@hookimpl
def engine_losses(register):
    register("long", Options, Long)
"""


@pytest.fixture
def long_step(toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    """A recipe that gets a signal in the middle of a step."""
    (tmp_path / "long_step.py").write_text(LONG_STEP)
    return toy_recipe(
        plugins=[str(PLUGIN), "long_step.py"],
        train={"losses": [{"name": "long"}]},
        stage=[STAGE_A],
    )


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


def test_signals_in_the_echo_of_the_first_are_the_first_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("engine.training.interrupt.time.monotonic", lambda: clock[0])
    at_once: list[int] = []
    with stop_on_signal(echo=5.0) as request:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        clock[0] += 4.9
        os.kill(os.getpid(), signal.SIGINT)
        assert request.signal == "SIGTERM"
        clock[0] += 0.2
        monkeypatch.setattr("engine.training.interrupt.signal.raise_signal", at_once.append)
        request.note(signal.SIGTERM, None)
        assert at_once == [signal.SIGTERM], "a later one has its usual effect"
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_check_raises_only_after_a_signal() -> None:
    request = StopRequest()
    request.check("here")
    request.note(signal.SIGUSR1, None)
    with pytest.raises(InterruptedRunError, match="stopped by SIGUSR1 while it rested"):
        request.check("while it rested")


def stopped_at_once() -> None:
    with stop_on_signal() as request:
        os.kill(os.getpid(), signal.SIGINT)
        request.check("here")


def test_a_signal_that_nothing_heeded_goes_to_the_handler_of_the_program() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with stop_on_signal():
            os.kill(os.getpid(), signal.SIGINT)
            assert heard == []
        assert heard == [signal.SIGINT]
        with pytest.raises(InterruptedRunError):
            stopped_at_once()
        assert heard == [signal.SIGINT], "what was heeded is told by the error"
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_is_answered_before_the_step_is_over(engine: Command, long_step: Path) -> None:
    stopped = engine("run", long_step)
    assert stopped.code == 5, stopped.err
    lines = stopped.out.splitlines()
    heard = lines.index("  SIGTERM: stops after this step, and saves; another one stops at once")
    assert heard < lines.index("the step is over")


def test_the_answer_to_a_signal_is_no_part_of_a_document_and_not_said_quietly(engine: Command, long_step: Path) -> None:
    told = engine("run", long_step, "--json")
    assert "stops after this step" not in told.out
    assert "stops after this step" in told.err
    quiet = engine("run", long_step, "--quiet")
    assert quiet.code == 5
    assert "stops after this step" not in quiet.out + quiet.err


def test_of_several_processes_one_answers(two: Command, long_step: Path, tmp_path: Path) -> None:
    stopped = two("run", long_step)
    assert stopped.code == 5, stopped.err
    printed = [(tmp_path / f"printed-{rank}").read_text() for rank in range(2)]
    assert [each.count("  SIGTERM: stops after this step, and saves\n") for each in printed] == [1, 0]


@pytest.fixture
def among_devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """A group of one process that says that its devices speak NCCL, as on GPUs; what it is given to reduce."""
    given: list[torch.Tensor] = []
    reduce = distributed.all_reduce

    def watched(tensor: torch.Tensor, *arguments: object, **more: object) -> object:
        given.append(tensor)
        return reduce(tensor, *arguments, **more)

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    monkeypatch.setattr(distributed, "get_backend", lambda: distributed.Backend.NCCL)
    monkeypatch.setattr(distributed, "all_reduce", watched)
    at_end: list[Callable[[], None]] = []
    monkeypatch.setattr(interrupt.atexit, "register", at_end.append)
    with torch.device("meta"):  # where a tensor is made that nobody has placed
        yield given
    for leave in at_end:
        leave()
    distributed.destroy_process_group()


def test_processes_on_gpus_agree_from_host_to_host(among_devices: list[torch.Tensor]) -> None:
    request = StopRequest()
    agreement = Agreement(request, host_group())
    company = Company(request, host_group())
    assert host_group() is not distributed.group.WORLD
    assert company.beat(True, "while one works")
    request.note(signal.SIGUSR1, None)
    assert not agreement.to_stop(), "the answer comes a step later"
    assert agreement.to_stop()
    with pytest.raises(InterruptedRunError, match="while one works"):
        company.beat(True, "while one works")
    assert {each.device.type for each in among_devices} == {"cpu"}

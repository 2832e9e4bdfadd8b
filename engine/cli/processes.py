"""Several processes of one command on this machine: torch's launcher starts them, their errors are told once."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from typing import TYPE_CHECKING, NoReturn

from engine.errors import EngineError, GateRefusedError, InputError, InterruptedRunError, WorldError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
    from torch.distributed.launcher.api import LaunchConfig

START = "spawn"
"""Not forkserver: a signal to the whole group would end the server, and with it the word of how each process ended."""
PATIENCE = 120
"""Seconds that processes have to leave after a signal, or after one of them has failed, before they are killed: enough
for a step and its checkpoint, since one that waits for a dead neighbour does not notice by itself on a GPU."""

NOTICED = 1.0
"""Seconds in which the launcher, which looks ten times as often, notices the end of a killed process before that of one
that fails because it lost it."""


@dataclass(frozen=True)
class Ending:
    """How a process ended badly; `text` is a traceback where that is a bug, of the engine or of a plugin."""

    code: int
    text: str
    advice: str = ""
    is_bug: bool = False


def launched(processes: int) -> bool:
    """Whether this process is one of several already; InputError where those are not as many as were asked for."""
    world = os.environ.get("WORLD_SIZE")
    if world is not None and processes > 1 and int(world) != processes:
        raise InputError(
            f"--processes {processes} was asked for in one of {world} processes that a launcher started",
            "leave --processes out under torchrun and accelerate launch",
        )
    return world is not None or processes == 1


def launch(processes: int, arguments: list[str]) -> None:
    """Run `engine ARGUMENTS` in as many processes, one a GPU, or on the CPU where this machine has no GPU.

    Raises what the first of them to fail raised; InputError for more processes than GPUs.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    _choose_device(processes)
    endings: SimpleQueue[Ending] = multiprocessing.get_context(START).SimpleQueue()
    try:
        with _quiet():
            elastic_launch(_config(processes), _work)(arguments, endings)
    except ChildFailedError as failed:
        _explain(_drained(endings), processes, failed.get_first_failure())
    except SignalException as stopped:
        for each in multiprocessing.active_children():  # a second signal stops at once
            each.terminate()
        _explain(_drained(endings), processes, signalled=stopped.sigval.name)


def _choose_device(processes: int) -> None:
    """One GPU a process, or the cores shared; what the environment says already stays."""
    import torch

    devices = 0 if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true") else torch.cuda.device_count()
    if 0 < devices < processes:
        raise InputError(
            f"--processes {processes} needs as many GPUs, and this machine has {devices}",
            f"--processes {devices}, or set ACCELERATE_USE_CPU=true to train on the CPU",
        )
    if devices == 0:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    # Read when torch is imported. Without it every process would take all cores, and each wait for the others.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // processes, 1)))


def _config(processes: int) -> LaunchConfig:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"engine-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        start_method=START,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle="SIGINT,SIGTERM,SIGUSR1",
        shutdown_timeout=PATIENCE,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the launcher's own account of what failed; its signal handlers are taken back after."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _work(arguments: list[str], endings: SimpleQueue[Ending]) -> None:
    """One process, which ends by its exit code; the launcher then stops those that have not ended."""
    import torch

    from engine.cli.main import command_line

    sys.argv = ["engine", *arguments]
    try:
        command_line()
    except EngineError as error:
        if isinstance(error, InterruptedRunError | GateRefusedError):
            # They agreed on it, and the first may still write what the run is resumed from.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            torch.distributed.barrier()
        lines = error.problems if isinstance(error, InputError) else [error]
        advice = error.advice if isinstance(error, InputError) else ""
        endings.put(Ending(error.exit_code, "\n".join(map(str, lines)), advice))
        sys.exit(error.exit_code)
    except Exception:
        # Told by the parent, if at all: where one process fails, the others lose their connection to it and fail too.
        endings.put(Ending(1, traceback.format_exc(), is_bug=True))
        time.sleep(NOTICED)
        raise


def _drained(endings: SimpleQueue[Ending]) -> list[Ending]:
    """What the processes said, the first to fail first."""
    told = []
    while not endings.empty():
        told.append(endings.get())
    return told


def _explain(
    told: list[Ending], processes: int, failure: tuple[int, ProcessFailure] | None = None, signalled: str = ""
) -> NoReturn:
    """Raise the cause: an error in words, else the signal that killed a process, else what the first one raised."""
    words = [each for each in told if not each.is_bug]
    if words:
        raise _error(words[0])
    if failure is not None and failure[1].exitcode < 0:
        rank, killed = failure
        raise WorldError(
            f"process {rank} of {processes} was killed by {signal.Signals(-killed.exitcode).name}; "
            "go on from the last checkpoint with --resume"
        )
    if signalled:
        raise InterruptedRunError(f"stopped by {signalled} before a step was done; go on with --resume")
    sys.stderr.write(told[0].text if told else "a process ended without a word\n")
    sys.exit(WorldError.exit_code)


def _error(ending: Ending) -> EngineError:
    """The error with the class that its exit code stands for."""
    if ending.code == InputError.exit_code:
        return InputError(ending.text, ending.advice)
    kinds: dict[int, type[EngineError]] = {kind.exit_code: kind for kind in EngineError.__subclasses__()}
    kinds[WorldError.exit_code] = WorldError  # which PluginError shares
    return kinds[ending.code](ending.text)

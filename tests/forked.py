"""New processes of the command line that start in a fraction of a second.

A forked process begins in a server that has imported torch and the engine and has done nothing else: it holds no data,
no model, no open run, and no thread. It runs `engine.cli.main.main` in a folder, with an environment and signals of its
own, and ends as any process ends: by its exit code, or by a signal. Two things an interpreter of its own would have
are shared: the seed of `hash` for strings, and what is imported. Seeds from the system are drawn anew.

    with Forks() as forks:
        running = forks.start("run", "toy.toml", folder=tmp_path, STOP_AT="A 6")
        running.signal(signal.SIGKILL)
        ended = running.wait()          # Outcome(code=-9, out="...", err="...")
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

# What a run imports by and by; the server imports it once. torch._dynamo: an optimiser's first step takes a second.
IMPORTED = [
    "accelerate",
    "engine.cli.main",
    "engine.cli.processes",
    "engine.gates.gate",
    "engine.gates.plugin",
    "engine.recipe.positions",
    "engine.reporting.console",
    "engine.reporting.event_log",
    "engine.runs.execute",
    "engine_polarization.plugin",
    "engine_s2m2.plugin",
    "engine_scenes.plugin",
    "engine_stereo.plugin",
    "safetensors.torch",
    "torch._dynamo",
]


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (minus the signal that killed it) and what it printed."""

    code: int
    out: str
    err: str


class Running:
    """A command at work in a process of its own."""

    def __init__(self, process: BaseProcess, printed: Path) -> None:
        self._process = process
        self._printed = printed
        assert process.pid is not None, "the process has been started"
        self.pid = process.pid

    def signal(self, number: int) -> None:
        """Send a signal, if the process has not ended."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def ended(self) -> bool:
        """Whether the process is over."""
        return not self._process.is_alive()

    def wait(self, seconds: float = 120) -> Outcome:
        """Wait for the end; TimeoutError after `seconds`, and the process is killed."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise TimeoutError(f"still running after {seconds:g} s; it printed: {self._read('out')}{self._read('err')}")
        return Outcome(self._process.exitcode, self._read("out"), self._read("err"))

    def _read(self, stream: str) -> str:
        path = self._printed / stream
        return path.read_text(errors="replace") if path.exists() else ""


class Forks:
    """Starts commands; processes that still run when the `with` block ends are killed."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(IMPORTED)
        self._printed = Path(tempfile.mkdtemp(prefix="engine-forked-"))
        self._started: list[BaseProcess] = []

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._started:
            process.kill()
            process.join()
        shutil.rmtree(self._printed)

    def start(self, *arguments: object, folder: Path, **environment: str) -> Running:
        """`engine ARGUMENTS` in `folder`, with the environment of this process and `environment` over it."""
        printed = self._printed / str(len(self._started))
        printed.mkdir()
        words = ["engine", *map(str, arguments)]
        process = self._context.Process(
            target=_command, args=(words, str(folder), {**os.environ, **environment}, str(printed))
        )
        process.start()
        self._started.append(process)
        return Running(process, printed)

    def run(self, *arguments: object, folder: Path, **environment: str) -> Outcome:
        """`engine ARGUMENTS` to its end."""
        return self.start(*arguments, folder=folder, **environment).wait()


def work(arguments: list[str], endings: Any) -> None:
    """One process of `--processes`, forked: it prints to a file, and its environment comes in one."""
    handle = os.open(f"printed-{os.environ['RANK']}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.environ.update(json.loads(Path("environment.json").read_text()))

    import torch

    from engine.cli.processes import _work

    torch.set_num_threads(1)
    _work(arguments, endings)


def _command(words: list[str], folder: str, environment: dict[str, str], printed: str) -> None:
    """What the forked process does."""
    for number, stream in ((1, "out"), (2, "err")):
        handle = os.open(Path(printed) / stream, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words

    import numpy as np
    import torch

    from engine.cli.main import main

    torch.set_num_threads(1)
    random.seed()  # a fork would otherwise repeat the draws of its siblings
    np.random.seed()
    main()

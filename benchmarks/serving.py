"""A script that imports once and then forks a process for each run that it is asked for, and the side that asks.

Importing a trainer takes seconds and a run of a small work a fraction of one. A forked process starts with nothing but
the imports.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LIMIT = 300
"""Seconds that one run may take; it takes a few, so this only ends a hang."""


def serve(run: Callable[[list[str]], int]) -> None:
    """Fork `run(arguments)` for each line of stdin, and answer with its exit status, minus the signal that ended it."""
    importlib.import_module("torch._dynamo")  # an optimiser's first step imports it, which takes a second
    for line in sys.stdin:
        print(_forked(run, **json.loads(line)), flush=True)


def _forked(run: Callable[[list[str]], int], arguments: list[str], said: str) -> int:
    def child() -> None:
        signal.alarm(LIMIT)
        into = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY)
        os.dup2(into, 1)
        os.dup2(into, 2)
        sys.exit(run(arguments))

    process = multiprocessing.get_context("fork").Process(target=child)  # which prints what a trainer raises
    process.start()
    process.join()
    return process.exitcode or 0


class Server:
    """A script that serves; `python` is the one of the environment that has what it imports."""

    def __init__(self, python: Path, script: Path, environment: Mapping[str, str] = {}) -> None:
        asked = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
        self._process = subprocess.Popen(
            [str(python), str(script), "--serve"], env=asked, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, arguments: Sequence[str], said: Path) -> int | None:
        """Do one run, which says what it says into the file or terminal `said`; its exit status, None without one."""
        print(json.dumps({"arguments": list(arguments), "said": str(said)}), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        return int(answer) if answer else None

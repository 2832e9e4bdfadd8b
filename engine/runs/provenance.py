"""Where a run comes from: code, versions, machine, command, seed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("experiment-engine", "torch", "accelerate", "safetensors", "zarr", "numpy", "pydantic", "pluggy")


def provenance(seed: int, plugins: dict[str, str]) -> dict[str, Any]:
    """Plain data about this process; `plugins` maps plugin names to their distributions.

    The commit is that of the folder the command runs in; None outside a git checkout.
    """
    import torch

    return {
        "command": sys.argv,
        "seed": seed,
        "git": _git(),
        "versions": versions(),
        "plugins": plugins,
        "host": {
            "name": platform.node(),
            "system": platform.platform(),
            "processors": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
    }


def versions() -> dict[str, str | None]:
    """The versions of Python and of what the engine stands on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    commit = _run("git", "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_run("git", "status", "--porcelain")), "folder": str(Path.cwd())}


def _run(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

"""Where a checkout comes from: its commit, and a digest of its code for what git does not tell."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path


def commit_of(folder: Path | None) -> str:
    """The commit at which a checkout is; empty without git, and where no repository tracks the folder."""
    # A folder that only lies within somebody's repository has not the commit of that.
    if folder is None or not folder.is_dir() or not _git(folder, "ls-files", "--", "*.py"):
        return ""
    return _git(folder, "rev-parse", "HEAD")


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def sources_of(folder: Path | None) -> str:
    """The first 16 digits of the sha256 of a checkout's Python files by name; empty where there is no folder.

    Hidden folders and virtual environments are passed over.
    """
    if folder is None or not folder.is_dir():
        return ""
    sha = hashlib.sha256()
    for place, inner, files in os.walk(folder):
        inner[:] = sorted(
            name for name in inner if not name.startswith(".") and not Path(place, name, "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(place, name)
                sha.update(f"{path.relative_to(folder)}\0".encode())
                sha.update(hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()[:16]

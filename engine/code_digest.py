"""Which code of a plugin computes a thing, so that what an older version computed is not taken for its own."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from engine.plugins import Registered


def code_of(registered: Registered) -> list[str]:
    """Which plugin, of which version, and the digest of its Python files: a version does not change with every edit.

    The files are those of the top package of the plugin's options; what it imports from elsewhere is not seen.
    """
    module = sys.modules[registered.options.__module__.partition(".")[0]]
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    files = sorted(file for folder in folders for file in folder.rglob("*.py")) or [Path(str(module.__file__))]
    sha = hashlib.sha256()
    for file in files:
        sha.update(hashlib.sha256(file.read_bytes()).digest())
    return [registered.plugin, registered.distribution, sha.hexdigest()]

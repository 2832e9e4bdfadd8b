"""Which code of a plugin computes a thing, so that what an older version computed is not taken for its own."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from engine.registered import Registered

ENGINE = Path(__file__).parent
QUIET = ("cli", "library.py", "reporting", "runs", "templates", "testing")
"""Parts of the engine that ask, tell and keep: what is trained and measured does not depend on them."""


def code_of(registered: Registered) -> list[str]:
    """Which plugin, of which version, and the digest of its Python files: a version does not change with every edit.

    The files are those of the top package of the plugin's options, and the file that a recipe names; what they import
    from elsewhere is not seen.
    """
    name = registered.options.__module__
    file, is_package = Path(str(sys.modules[name].__file__)), hasattr(sys.modules[name], "__path__")
    # Levels above the file at which the top package lies; a folder of its name elsewhere on the path is another thing.
    up = name.count(".") - 1 + is_package
    files = [file] if up < 0 else sorted(file.parents[up].rglob("*.py"))
    named = Path(registered.plugin)  # where a recipe names the plugin's file; its options may be another file's
    files += [named] if named.suffix == ".py" and named not in files else []
    return [registered.plugin, registered.distribution, digest_of(files)]


def engine_code() -> str:
    """The digest of the engine's own Python files, as far as training and measuring depend on them."""
    files = sorted(ENGINE.rglob("*.py"))
    return digest_of(file for file in files if file.relative_to(ENGINE).parts[0] not in QUIET)


def digest_of(files: Iterable[Path]) -> str:
    """One sha256 of the content of files, in their order."""
    sha = hashlib.sha256()
    for file in files:
        sha.update(hashlib.sha256(file.read_bytes()).digest())
    return sha.hexdigest()

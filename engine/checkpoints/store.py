"""Checkpoints: written to a temporary folder by a thread, synced, renamed, the manifest with digests last."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.checkpoints.weights import write_weights
from engine.errors import WorldError

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
AVERAGE = "average.safetensors"
STATE = "state.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: weights by name, their moving average where one is kept, and the trainer's state."""

    step: int
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    state: Mapping[str, Any]


class CheckpointStore:
    """The checkpoints of one stage in a folder: `latest` and `best` name two of them, the last `keep` stay."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(
        self,
        step: int,
        weights: Mapping[str, Tensor],
        average: Mapping[str, Tensor] | None,
        state: Mapping[str, Any],
        best: bool,
    ) -> Path:
        """Copy the tensors and write them in the background; waits for (and reports on) the write before.

        Raises WorldError when the write before failed, for example on a full disk; older checkpoints stay intact.
        """
        self.wait()
        files = {WEIGHTS: _copied(weights), **({AVERAGE: _copied(average)} if average else {})}
        state = _copied_state(state)
        target = self.folder / f"step-{step:07d}"
        self._pending = self._writer.submit(self._write, target, step, files, state, best)
        return target

    def wait(self) -> None:
        """Wait until the last save is on disk; raises WorldError when it failed."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except (OSError, RuntimeError) as error:  # torch.save tells of a full disk by a RuntimeError
            reason = getattr(error, "strerror", None) or error
            raise WorldError(f"a checkpoint could not be written to {self.folder}: {reason}") from error

    def close(self) -> None:
        """Wait for the last write and end the thread."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint whose files match their digests; damaged ones are passed over."""
        for folder in sorted(self.folder.glob("step-*"), reverse=True):
            checkpoint = read_checkpoint(folder)
            if checkpoint is not None:
                return checkpoint
        return None

    def _write(
        self, target: Path, step: int, files: Mapping[str, Mapping[str, Tensor]], state: Any, best: bool
    ) -> None:
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, tensors in files.items():
            write_weights(partial / name, tensors)
        torch.save(state, partial / STATE)
        digests = {name: _file_digest(partial / name) for name in [*files, STATE]}
        (partial / MANIFEST).write_text(json.dumps({"step": step, "files": digests}, indent=1))
        for path in [*partial.iterdir(), partial]:
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _sync(self.folder)
        self._point("latest", target)
        if best:
            self._point("best", target)
        self._drop_old()

    def _point(self, name: str, target: Path) -> None:
        fresh = self.folder / f".{name}.partial"
        fresh.write_text(target.name + "\n")
        _sync(fresh)
        fresh.replace(self.folder / name)

    def _drop_old(self) -> None:
        kept = {
            (self.folder / name).read_text().strip() for name in ("latest", "best") if (self.folder / name).exists()
        }
        for folder in sorted(self.folder.glob("step-*"))[: -self.keep]:
            if folder.name not in kept:
                shutil.rmtree(folder)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """A checkpoint whose every file matches the manifest, or None when anything is missing or differs."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if any(_file_digest(folder / name) != digest for name, digest in manifest["files"].items()):
            return None
        return Checkpoint(
            step=manifest["step"],
            weights=load_file(folder / WEIGHTS),
            average=load_file(folder / AVERAGE) if AVERAGE in manifest["files"] else None,
            state=torch.load(folder / STATE, map_location="cpu", weights_only=True),
        )
    except (OSError, ValueError, KeyError, TypeError, pickle.UnpicklingError):
        return None


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def _copied_state(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied_state(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied_state(item) for item in value)
    return value


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

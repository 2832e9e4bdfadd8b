"""Checkpoints: written to a temporary folder by a thread, synced, renamed, the manifest with digests last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.checkpoints.record import RECORD
from engine.checkpoints.weights import read_torch, read_weights, write_weights
from engine.errors import InputError, WorldError
from engine.files import file_digest, read_json, sync, write_whole

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
    """The checkpoints of one stage in a folder: `latest` and `best` name two of them, the last `keep` stay.

    about: texts that its weight files keep beside their tensors.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        self.about: Mapping[str, str] = {}
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
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise WorldError(f"a checkpoint could not be written to {self.folder}: {reason}") from error

    def close(self) -> None:
        """Wait for the last write and end the thread."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def recover(self) -> None:
        """Put back a checkpoint that was set aside by a process which died before it had replaced it."""
        for aside in self.folder.glob(".step-*.old"):
            target = self.folder / aside.name.removeprefix(".").removesuffix(".old")
            shutil.rmtree(aside) if target.exists() else aside.rename(target)

    def latest(
        self, tell: Callable[[str], None], wrong: Callable[[Checkpoint], str] = lambda checkpoint: ""
    ) -> Checkpoint | None:
        """The newest checkpoint whose files match their digests; damaged ones are passed over and told of.

        So are those in which `wrong` finds something, which it says in words.
        """
        for folder in sorted(self.folder.glob("step-*"), reverse=True):
            try:
                checkpoint = read_checkpoint(folder)
            except WorldError as damage:
                tell(f"{damage}; it is passed over")
                continue
            if not (what := wrong(checkpoint)):
                return checkpoint
            tell(f"{folder}: {what}; it is passed over")
        return None

    def _write(
        self, target: Path, step: int, files: Mapping[str, Mapping[str, Tensor]], state: Any, best: bool
    ) -> None:
        partial = target.with_name(f".{target.name}.partial")
        for left_over in self.folder.glob(".step-*.partial"):  # a process died, or the disk was full, in the middle
            shutil.rmtree(left_over, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, tensors in files.items():
            write_weights(partial / name, tensors, self.about)
        _save_state(state, partial / STATE)
        digests = {name: file_digest(partial / name) for name in [*files, STATE]}
        (partial / MANIFEST).write_text(json.dumps({"step": step, "files": digests}, indent=1))
        for path in [*partial.iterdir(), partial]:
            sync(path)
        aside = target.with_name(f".{target.name}.old")
        if target.exists():
            target.rename(aside)
        partial.rename(target)
        sync(self.folder)
        shutil.rmtree(aside, ignore_errors=True)
        self._point("latest", target)
        if best:
            self._point("best", target)
        self._drop_old()

    def _point(self, name: str, target: Path) -> None:
        write_whole(self.folder / name, lambda partial: partial.write_text(target.name + "\n"))

    def _drop_old(self) -> None:
        pointers = [self.folder / name for name in ("latest", "best")]
        kept = {pointer.read_text(errors="replace").strip() for pointer in pointers if pointer.exists()}
        for folder in sorted(self.folder.glob("step-*"))[: -self.keep]:
            if folder.name not in kept:
                shutil.rmtree(folder)


def read_checkpoint(folder: Path) -> Checkpoint:
    """A checkpoint whose every file matches the manifest; WorldError naming the first part that does not."""
    manifest = read_json(folder / MANIFEST, step=int, files=dict)
    files, step = manifest["files"], manifest["step"]
    if folder.name != f"step-{step:07d}" or not {WEIGHTS, STATE} <= files.keys() <= {WEIGHTS, AVERAGE, STATE}:
        raise WorldError(f"{folder / MANIFEST} is damaged: it is of step {step} and names {', '.join(files)}")
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise WorldError(f"{folder / name} is missing")
        if file_digest(folder / name) != digest:
            raise WorldError(f"{folder / name} is damaged: it differs from its digest")
    try:
        return Checkpoint(
            step=step,
            weights=read_weights(folder / WEIGHTS)[0],
            average=read_weights(folder / AVERAGE)[0] if AVERAGE in files else None,
            state=read_torch(folder / STATE),
        )
    except InputError as error:
        raise WorldError(str(error)) from error


def check_digest(path: Path) -> None:
    """WorldError for a file that differs from the digest that a record or a manifest beside it holds."""
    noted = None
    if (path.parent / MANIFEST).is_file():
        noted = read_json(path.parent / MANIFEST, files=dict)["files"].get(path.name)
    elif path.name == WEIGHTS and (path.parent / RECORD).is_file():
        noted = read_json(path.parent / RECORD).get("weights_digest")
    if noted is not None and file_digest(path) != noted:
        raise WorldError(f"{path} is damaged: it differs from its digest")


def _save_state(state: Any, path: Path) -> None:
    try:
        with path.open("wb") as file:  # torch, given a path, hides why it cannot write there
            torch.save(state, file)
    except RuntimeError as error:
        # Met by a failed write, torch raises an error of its own, which says nothing of a full disk.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


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

"""Files that try to run code when they are read: a checkpoint's state, weights."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from faults.workplace import STAGES, Case, demand


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def write_trap(path: Path, case: Case) -> Path:
    """A torch file, new or old, or a bare pickle, that makes the file it returns when its pickle is run."""
    mark = case.folder / "executed"
    touch = case.rng.choice(
        (
            Payload(os.system, f"touch '{mark}'"),
            Payload(exec, f"open({str(mark)!r}, 'w')"),
            Payload(eval, f"open({str(mark)!r}, 'w')"),
            Payload(os.mkdir, str(mark)),
        )
    )
    content = case.rng.choice((touch, {"progress": touch}, {"state_dict": {"head.weight": touch}}, [touch]))
    way = case.rng.choice(("zip", "legacy", "pickle"))
    if way == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "zip")
    return mark


async def state(case: Case) -> None:
    """In a checkpoint's state, with or without the digest that fits: refused by name, the checkpoint before is used."""
    stage = case.rng.choice(STAGES)
    await case.place.stopped(f"step {stage} 7", case)
    newest = sorted((case.run_folder / f"stage-{stage}" / "checkpoints").glob("step-*"))[-1]
    mark = write_trap(newest / "state.pt", case)
    if case.rng.random() < 0.7:
        manifest = json.loads((newest / "manifest.json").read_text())
        manifest["files"]["state.pt"] = hashlib.sha256((newest / "state.pt").read_bytes()).hexdigest()
        (newest / "manifest.json").write_text(json.dumps(manifest))
    done = await case.resume()
    demand(not mark.exists(), "code from the checkpoint was run")
    demand(f"{newest.name}/state.pt" in done.out + done.err, f"state.pt is not named: {done.out}{done.err}")


async def weights(case: Case) -> None:
    """In a weights file of the model, of a stage, or of `engine eval`: refused by name, nothing is run."""
    name = case.rng.choice(("evil.pth", "evil.pt", "evil.safetensors"))
    mark = write_trap(case.folder / name, case)
    use = case.rng.choice(("model", "init", "eval"))
    if use == "eval":
        done = await case.run("eval", "toy.toml", "--weights", name)
    else:
        key = "model.weights" if use == "model" else "stage.A.init"
        done = await case.run("run", "toy.toml", "--set", f"{key}={name!r}")
    demand(not mark.exists(), "code from the weights file was run")
    demand(done.code in (1, 2), f"weights that hold code end with {done.code}: {done.err}")
    demand(name in done.err, f"{name} is not named: {done.err}")


KINDS = {
    "malicious pickle in a checkpoint": (state, 7),
    "malicious pickle as weights": (weights, 7),
}

"""Weights of a part of a network, such as those that were published for its backbone alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from engine import events, read_weights
from engine.errors import InputError, Problem, nearest

SHOWN = 6
"""Names that a message lists."""


def load_part(network: nn.Module, part: str, path: Path) -> events.Note:
    """Copy a file's tensors into a part of the network; what was loaded, and what of the file had no place.

    The file may hold a tree of which the part has some branches, as a classifier whose last layers are not used. Of a
    branch that both have everything must be there. Raises InputError otherwise, WorldError for a file that cannot be
    read.
    """
    try:
        module = network.get_submodule(part)
    except AttributeError:
        known = [name for name, _ in network.named_modules() if name]
        raise InputError(
            Problem("", f"[model.parts] names '{part}', which the network has not", near=nearest(part, known))
        ) from None
    tensors = {name.removeprefix("module."): tensor for name, tensor in read_weights(path)[0].items()}
    branches = {name.partition(".")[0] for name in tensors}
    wanted = {
        name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if name.partition(".")[0] in branches
    }
    missing = [name for name in wanted if name not in tensors]
    wrong = [
        f"{name} (file {tuple(tensors[name].shape)}, part {tuple(place.shape)})"
        for name, place in wanted.items()
        if name in tensors and tensors[name].shape != place.shape
    ]
    if missing or wrong or not wanted:
        raise InputError(
            f"{path} does not fit the part '{part}': {len(wanted)} of its {len(module.state_dict())} tensors have a "
            f"branch in the file; missing: {_some(missing)}; wrong shape: {_some(wrong)}"
        )
    with torch.no_grad():
        for name, place in wanted.items():
            place.copy_(tensors[name])
    left = [name for name in tensors if name not in wanted]
    text = f"part '{part}': {len(wanted)} tensors loaded from {path.name}" + (
        f", {len(left)} unexpected" if left else ""
    )
    return events.Note("warning" if left else "info", text, {"part": part, "loaded": len(wanted), "unexpected": left})


def _some(names: list[str]) -> str:
    return (", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")) or "none"

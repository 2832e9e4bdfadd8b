"""Parts of a network that compute their activations again in the backward pass: less memory, the same gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from engine.errors import InputError, Problem, nearest
from engine_checkouts.preset import Preset
from engine_checkouts.safeguards import batch_norms


def recompute(network: nn.Module, preset: Preset, segments: Sequence[str]) -> None:
    """Let the named segments of a preset recompute; InputError for a segment that it does not have."""
    known = list(preset.segments)
    problems = [
        Problem("", f"{preset.network} has no segment {name!r}", f"one of {', '.join(known)}", nearest(name, known))
        for name in segments
        if name not in preset.segments
    ]
    if problems:
        raise InputError(problems)
    for target in (target for name in segments for target in preset.segments[name]):
        owner, _, method = target.rpartition(".")
        found = getattr(network.get_submodule(owner), method)
        if isinstance(found, nn.Module):
            _wrap(found, "forward")
        else:
            _wrap(network.get_submodule(owner), method)


def _wrap(owner: nn.Module, method: str) -> None:
    original: Callable[..., Any] = getattr(type(owner), method)

    def recomputed(self: nn.Module, *arguments: Any, **more: Any) -> Any:
        if not torch.is_grad_enabled():
            return original(self, *arguments, **more)
        # Authors' code changes lists that it is given in place, so that a second run would begin where the first one
        # ended, with another gradient and no error. Each run has copies.
        names, count, again = list(more), len(arguments), False

        def run(*given: Any) -> Any:
            nonlocal again
            first, again = not again, True
            mine = _copied(given)
            with _unmoved_statistics(self, enabled=not first):
                return original(self, *mine[:count], **dict(zip(names, mine[count:], strict=True)))

        return checkpoint(run, *_copied([*arguments, *more.values()]), use_reentrant=False)

    # A bound method and no closure over `owner`: a copy of the network, as an average is, must run its own weights.
    setattr(owner, method, MethodType(recomputed, owner))


def _copied(arguments: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(list(each) if isinstance(each, list) else each for each in arguments)


@contextmanager
def _unmoved_statistics(owner: nn.Module, enabled: bool) -> Iterator[None]:
    """Batch normalisation keeps the statistics of the first run: the second sees the same batch once more.

    It moves copies meanwhile. Putting the old values back into the same tensors would be a change in place, which the
    rest of the backward pass does not allow.
    """
    norms = [norm for norm in batch_norms(owner) if norm.training] if enabled else []
    before = [dict(norm._buffers) for norm in norms]
    for norm in norms:
        norm._buffers.update({name: buffer.clone() for name, buffer in norm._buffers.items() if buffer is not None})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, before, strict=True):
            norm._buffers.update(buffers)

"""What a machine cannot do, told in words: it has no memory left, or no deterministic form of an operator."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import InputError, PluginError, Problem, WorldError

MEMORY = (
    'a smaller batch_size (with accumulate raised the global batch stays), precision = "bf16", a smaller crop, or a '
    "model's option to compute activations again in the backward pass (`engine plugins`) need less; `engine plan "
    "--measure` tells what a stage takes"
)
FULL = ("can't allocate memory", "not enough memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch says where it has no class for it: on the host, and where a library of the device finds no room."""
CHANCE = "does not have a deterministic implementation"


@contextmanager
def limits_told(where: str = "") -> Iterator[None]:
    """WorldError where memory runs out, InputError at `where` where `deterministic = true` cannot be held.

    They come as torch's own errors, or as that of the plugin in whose code they came up.
    """
    try:
        yield
    except (PluginError, RuntimeError, MemoryError) as error:
        for cause in _chain(error):
            first = str(cause).partition("\n")[0]
            if _is_full(cause):
                what = first.partition(" If reserved")[0] or "the host's memory is full"
                raise WorldError(f"no memory is left: {what}\n  {MEMORY}") from error
            if isinstance(cause, RuntimeError) and CHANCE in first:
                what = f"deterministic = true cannot be held: torch's {first.partition(',')[0]}"
                advice = "another model or loss, or deterministic = false"
                raise InputError(Problem(where, what), advice) from error
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_full(error: BaseException) -> bool:
    torch = sys.modules.get("torch")  # not imported for this
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in FULL)

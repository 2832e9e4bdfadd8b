"""Frozen is a promise: no gradient, evaluation mode, and the same bits at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.errors import PluginError
from engine.globs import Selection
from engine.system import System


def apply(system: System, selection: Selection) -> None:
    """Switch gradients and modes of every parameter and module as the stage's selection says."""
    for name, parameter in system.named_parameters():
        parameter.requires_grad_(name in selection.parameters)
    set_modes(system, selection)
    system.base_trains = any(name.startswith("base.") for name in selection.parameters)


def set_modes(system: nn.Module, selection: Selection) -> None:
    """Training mode for the modules that train, evaluation mode (norms, dropout) for all others.

    A base that holds a frozen part must still know that it trains, so a module above a training one trains too; modules
    below it keep their own mode.
    """
    above = {name.rsplit(".", count)[0] for name in selection.modules for count in range(1, name.count(".") + 1)}
    for name, module in system.named_modules():
        module.training = name in selection.modules or (name in above and not _holds_state(module)) or name == ""


def _holds_state(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False))


def _digest(tensor: Tensor) -> str:
    # Bytes, not values: -0.0 and 0.0 or two NaN patterns must not pass for each other.
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(str((tuple(tensor.shape), str(tensor.dtype))).encode() + raw.tobytes()).hexdigest()


@dataclass(frozen=True)
class Fingerprint:
    """Digests of every frozen parameter and buffer, by name."""

    tensors: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One digest for all of them, in the order of their names."""
        lines = "".join(f"{name} {value}\n" for name, value in sorted(self.tensors.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def changed(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Which of `tensors` are frozen and no longer what they were."""
        return sorted(
            name for name, value in self.tensors.items() if name in tensors and _digest(tensors[name]) != value
        )


def fingerprint(system: nn.Module, selection: Selection) -> Fingerprint:
    """Digest what the selection freezes: parameters and buffers."""
    frozen = selection.frozen_parameters | selection.frozen_buffers
    tensors = [*system.named_parameters(), *system.named_buffers()]
    return Fingerprint({name: _digest(tensor) for name, tensor in tensors if name in frozen})


def prove_unchanged(
    before: Fingerprint,
    system: nn.Module,
    selection: Selection,
    stage: str,
    hooks: Mapping[str, Iterable[str]] | None = None,
) -> str:
    """The digest of the frozen part, equal to the one before; raises PluginError naming every tensor that differs.

    hooks: the lifecycle hooks of each plugin that were called meanwhile, which the message names as suspects.
    """
    after = fingerprint(system, selection)
    changed = sorted(name for name, value in before.tensors.items() if after.tensors.get(name) != value)
    changed += sorted(set(after.tensors) - set(before.tensors))
    if changed:
        raise PluginError(
            f"stage {stage}: {len(changed)} frozen tensors changed while it trained: {', '.join(changed[:8])}"
            f"{' ...' if len(changed) > 8 else ''}; a module writes to its own weights or buffers in forward"
            + "".join(
                f", or plugin {plugin!r} in {', '.join(sorted(names))}" for plugin, names in (hooks or {}).items()
            )
        )
    return after.digest

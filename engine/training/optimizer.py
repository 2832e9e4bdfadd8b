"""AdamW over the trainable parameters, with learning rates by glob."""

from __future__ import annotations

import torch
from torch import nn

from engine.errors import InputError
from engine.globs import Selection, matches
from engine.recipe.schema import Optimizer


def build_optimizer(system: nn.Module, selection: Selection, settings: Optimizer) -> torch.optim.Optimizer:
    """AdamW with one group a learning rate; the first matching pattern decides, the rest use `lr`.

    Frozen tensors are not in it. The fused kernel is used: it exists for CPU and GPU, and it can be told by a flag
    on the device to leave the weights alone, which is what the guard needs. Raises InputError for a pattern that
    matches no trainable parameter.
    """
    rates = [(group.match, group.lr) for group in settings.groups] + [("**", settings.lr)]
    groups: list[dict[str, object]] = [{"params": [], "lr": rate, "peak_lr": rate} for _, rate in rates]
    for name, parameter in system.named_parameters():
        if name not in selection.parameters:
            continue
        owner = name.rpartition(".")[0]
        place = next(i for i, (pattern, _) in enumerate(rates) if matches(pattern, name) or matches(pattern, owner))
        groups[place]["params"].append(parameter)  # type: ignore[attr-defined]  # the group's values differ in type
    for (pattern, _), group in zip(rates[:-1], groups, strict=False):
        if not group["params"]:
            raise InputError(f"optimizer group '{pattern}' matches no trainable parameter of this stage")
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=(settings.betas[0], settings.betas[1]),
        weight_decay=settings.weight_decay,
        fused=True,
    )


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's learning rate becomes its peak times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor

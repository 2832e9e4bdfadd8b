"""AdamW over the trainable parameters, with learning rates by glob."""

from __future__ import annotations

import torch
from torch import nn

from engine.errors import InputError
from engine.globs import Selection
from engine.recipe.schema import Optimizer
from engine.training.rates import check_groups, shares_of


def build_optimizer(system: nn.Module, selection: Selection, settings: Optimizer) -> torch.optim.Optimizer:
    """AdamW with one group a learning rate; the first matching pattern decides, the rest use `lr`.

    Frozen tensors are not in it. The fused kernel is used: it exists for CPU and GPU, and it can be told by a flag
    on the device to leave the weights alone, which is what the guard needs. Raises InputError for a pattern that
    matches no trainable parameter.
    """
    parameters = dict(system.named_parameters())
    problems = check_groups(list(parameters), selection, settings, lambda *_: "")
    if problems:
        raise InputError(problems)
    rates = [*(group.lr for group in settings.groups), settings.lr]
    shares = shares_of([name for name in parameters if name in selection.parameters], settings)
    return torch.optim.AdamW(
        [
            {"params": [parameters[name] for name in share], "lr": rate, "peak_lr": rate}
            for share, rate in zip(shares, rates, strict=True)
            if share
        ],
        lr=settings.lr,
        betas=(settings.betas[0], settings.betas[1]),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's learning rate becomes its peak times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor

"""How processes train one system: each a copy of it (DDP), or each a part of what trains (FSDP), as accelerate is told.

`system` is whole in every process all the same: it is what is measured, saved, proved and handed on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from engine.errors import InputError
from engine.globs import Selection
from engine.recipe.schema import Train
from engine.system import System
from engine.training.clipping import clip
from engine.training.meter import Number, at_once

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

TOGETHER = nullcontext()


def in_parallel(accelerator: Accelerator, system: System, selection: Selection) -> Copied | Sharded:
    """The system as this process trains it."""
    plugin = _sharding(accelerator)
    return Sharded(accelerator, system, selection, plugin) if plugin else Copied(accelerator, system, selection)


def check_parallel(accelerator: Accelerator, stages: Sequence[Train]) -> None:
    """InputError for everything in accelerate's FSDP configuration and in the stages that would not be done."""
    plugin = _sharding(accelerator)
    if plugin is None:
        return
    wrong = {
        "fsdp_version 1": plugin.fsdp_version != 2,
        "fsdp_activation_checkpointing": plugin.activation_checkpointing,
        "fsdp_offload_params": type(plugin.cpu_offload).__name__ == "CPUOffloadPolicy",
        'precision = "fp16"': any(stage.precision == "fp16" for stage in stages),
        "compile = true": any(stage.compile for stage in stages),  # a sharded system is a copy, which is not compiled
    }
    problems = ", ".join(name for name, found in wrong.items() if found)
    if problems:
        raise InputError(
            f"FSDP was asked for with {problems}, which the engine does not support",
            'fsdp_version: 2 for accelerate, precision = "bf16" and compile = false in the recipe; '
            "docs/scaling.md has an example",
        )


def _sharding(accelerator: Accelerator) -> FullyShardedDataParallelPlugin | None:
    """How accelerate was told to shard; None where it was not."""
    from accelerate.utils import FullyShardedDataParallelPlugin, parse_flag_from_env

    if accelerator.num_processes == 1 or not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return None
    return FullyShardedDataParallelPlugin()


class Copied:
    """One process, or several with a copy of the system each, whose gradients are averaged."""

    def __init__(self, accelerator: Accelerator, system: System, selection: Selection) -> None:
        self.accelerator = accelerator
        self.several = accelerator.num_processes > 1
        self.trained: System = system
        self.module: nn.Module = system
        if self.several:
            from torch.nn.parallel import DistributedDataParallel

            # Frozen statistics are the same in every process: they need not be sent at each step.
            ignore: Any = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
            ignore(system, selection.frozen_buffers)
            # Not by the accelerator, which would keep every stage's system to the end of the run. Without `device_ids`,
            # by which torch would make a plain new batch of each: the batch is there, and knows its fields.
            self.module = DistributedDataParallel(system, gradient_as_bucket_view=True)

    def micro_step(self, last: bool) -> AbstractContextManager[Any]:
        """A context for a forward and backward pass: gradients are averaged over processes in a step's last one."""
        return self.accelerator.no_sync(self.module) if self.several and not last else TOGETHER

    def clip(self, parameters: Sequence[Tensor], bound: float | None) -> Number:
        """Scale the gradients to a norm of at most `bound`; the norm before."""
        return clip(parameters, bound, at_once(self.accelerator.device))

    def publish(self) -> None:
        """Let the system hold what was trained; every process has to call it. A copy is the system itself."""

    def adopt(self) -> None:
        """Let what trains become what the system holds."""

    def whole(self, state: dict[str, Any]) -> dict[str, Any]:
        """An optimiser's state as one process would have it; every process has to call it."""
        return state

    def part(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """This process's part of an optimiser's whole state."""
        return state


class Sharded(Copied):
    """A twin of the system whose trained parameters, gradients and moments are spread over the processes (FSDP2).

    The twin shares the frozen parameters and all buffers with the system, so that only what trains is gathered.
    """

    def __init__(
        self, accelerator: Accelerator, system: System, selection: Selection, plugin: FullyShardedDataParallelPlugin
    ) -> None:
        from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self.system = system
        frozen = {parameter for name, parameter in system.named_parameters() if name in selection.frozen_parameters}
        twin = copy.deepcopy(system, {id(shared): shared for shared in (*frozen, *system.buffers())})
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        how = {"mesh": mesh, "reshard_after_forward": plugin.reshard_after_forward, "ignored_params": frozen}
        plugin.set_auto_wrap_policy(twin)
        wrapped = fsdp2_prepare_auto_wrap_policy(plugin, twin) or (lambda module: False)
        for module in [*reversed(list(twin.modules()))][:-1]:  # children first, the twin itself last
            if wrapped(module):
                fully_shard(module, **how)
        self.trained = self.module = twin
        self._shards: FSDPModule = fully_shard(twin, **how)  # the twin itself, as what it has become
        self._buffers = [buffer for name, buffer in system.named_buffers() if name not in selection.frozen_buffers]
        self._pairs: list[tuple[nn.Parameter, DTensor]] = [
            (own, part)  # type: ignore[misc]  # fully_shard made DTensors of them
            for (name, own), part in zip(system.named_parameters(), twin.parameters(), strict=True)
            if name not in selection.frozen_parameters
        ]

    def micro_step(self, last: bool) -> AbstractContextManager[Any]:
        """As above; the leading process's buffers are those of all, as in DDP."""
        self._shards.set_requires_gradient_sync(last)
        lead(self._buffers)
        return TOGETHER

    def clip(self, parameters: Sequence[Tensor], bound: float | None) -> Number:
        """As above; the norm of the whole gradient."""
        norm = _gathered(nn.utils.clip_grad_norm_(parameters, float("inf") if bound is None else bound))
        return norm.item() if at_once(norm.device) else norm

    @torch.no_grad()
    def publish(self) -> None:
        """Gather the parameters of all processes into the system."""
        for own, part in self._pairs:
            own.copy_(_gathered(part))

    @torch.no_grad()
    def adopt(self) -> None:
        """Cut the system's parameters into parts."""
        for own, part in self._pairs:
            part.copy_(_cut(own.detach(), part))

    def whole(self, state: dict[str, Any]) -> dict[str, Any]:
        """Gather the moments."""
        moments = {
            number: {name: _gathered(value) for name, value in of.items()} for number, of in state["state"].items()
        }
        return {**state, "state": moments}

    def part(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Cut the moments as their parameters are cut."""
        parts = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        moments = {
            number: {
                name: _cut(value, parts[number]) if value.shape == parts[number].shape else value
                for name, value in of.items()
            }
            for number, of in state["state"].items()
        }
        return {**state, "state": moments}


def lead(buffers: Iterable[Tensor]) -> None:
    """Give every process the leading one's: each has its norms' statistics from its own batches."""
    for buffer in buffers:
        torch.distributed.broadcast(buffer, 0)


def _gathered(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _cut(whole: Tensor, part: DTensor) -> DTensor:
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(part.device), part.device_mesh, part.placements)

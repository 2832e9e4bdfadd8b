"""What is changed in a network once it is built, always in the loaded objects and never in its author's files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import InputError
from engine_checkouts.preset import Attention


class Precision:
    """Stands for `autocast` in the checkout's modules: the engine's precision, in the regions that the authors chose.

    Theirs is always half precision of a GPU, whatever the engine trains in, and where it is off it switches off the
    engine's. Outside of their regions the network computes in float32, as they have it.
    """

    def __init__(self) -> None:
        self.device, self.dtype = "cpu", torch.float32

    def __call__(self, *_: Any, enabled: bool = True, **__: Any) -> torch.autocast:
        """A region of the authors' code; of its arguments only `enabled` counts."""
        return torch.autocast(self.device, self.dtype, enabled=enabled and self.dtype != torch.float32)

    def __deepcopy__(self, _: object) -> Precision:
        return self  # a copied network runs the code of the same modules

    @contextmanager
    def of_engine(self, device: str) -> Iterator[None]:
        """Take over the precision that is in force, and compute in float32 outside of the authors' regions.

        It stays taken over afterwards, for what is computed again in the backward pass.
        """
        enabled = torch.is_autocast_enabled(device)
        self.device, self.dtype = device, torch.get_autocast_dtype(device) if enabled else torch.float32
        with torch.autocast(device, enabled=False):
            yield

    def take_the_place_of_autocast(self, modules: Iterable[ModuleType]) -> None:
        """Rebind the name `autocast` wherever the checkout has it."""
        for module in modules:
            if "autocast" in vars(module):
                module.autocast = self  # type: ignore[attr-defined]  # it is there, as the line above says


class AcrossSlots:
    """`torch.nn.functional` for a module that gives attention (B, length, heads, width): along the length.

    Torch attends along the last axis but one. Code that was written for another library and has its axes the other way
    round lets the heads of one slot look at each other, and no slot at another, without any error.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(F, name)

    @staticmethod
    def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, **more: Any) -> Tensor:
        """Attention with length and heads exchanged, and back."""
        swapped = (each.transpose(1, 2) for each in (query, key, value))
        return F.scaled_dot_product_attention(*swapped, **more).transpose(1, 2)


def attends_across_slots(attention: nn.Module, width: int) -> bool:
    """Whether a change in one of several slots reaches the others, as attention along the slots must."""
    slots = torch.linspace(-1, 1, 7 * width).sin().reshape(1, 7, width)
    changed = slots.clone()
    changed[:, 3] += 1
    modes = {module: module.training for module in attention.modules()}
    attention.eval()  # dropout would change every slot
    with torch.no_grad():
        difference = attention(slots, slots, slots) - attention(changed, changed, changed)
    for module, training in modes.items():
        module.training = training
    return int((difference.abs().amax(-1) > 0).sum()) > 1


def attend_along_disparity(network: nn.Module, modules: dict[str, ModuleType], attention: Attention) -> bool:
    """Let the attention run along disparity; False where the checkout's own code does so already.

    Raises InputError where the code is another than the one that this was made for.
    """
    probe = network.get_submodule(attention.probe)
    if attends_across_slots(probe, attention.width):
        return False
    module = modules[attention.module]
    module.F = AcrossSlots()  # type: ignore[attr-defined]  # the name under which authors import torch's functions
    if not attends_across_slots(probe, attention.width):
        raise InputError(
            f"{attention.module} of the checkout attends in a way of its own, so it cannot be made to attend along "
            "disparity",
            'disparity_attention = "checkout" runs it as it is',
        )
    return True


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """The layers that keep running statistics of their batches."""
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


class Fresh:
    """Remembers the random numbers that a part was built with, and tells whether it still has them."""

    def __init__(self, part: nn.Module) -> None:
        # A tensor that is drawn: those that begin as ones or zeros tell nothing.
        self.name, drawn = next((name, each) for name, each in part.named_parameters() if _drawn(each))
        self.numbers = drawn.detach().flatten()[:64].clone()

    def still(self, part: nn.Module) -> bool:
        """Whether nothing has been loaded into the part."""
        now = part.get_parameter(self.name).detach().flatten()[:64]
        return bool(torch.equal(now.cpu().to(self.numbers.dtype), self.numbers))


def _drawn(parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and bool(parameter.detach().std() > 0)

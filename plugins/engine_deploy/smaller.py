"""A system made smaller: weights kept in fewer bits, weights set to zero, hidden units taken out; and read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from engine import read_weights
from engine.errors import InputError, WorldError

Keep = Literal["fp32", "bf16", "int8"]
BYTES, SCALE = "/int8", "/scale"
"""What follows a tensor's name in the names of its 8 bits and their scales; no module's name can hold it.

Under the tensor's own name the engine would take whole numbers for weights.
"""
ACTIVATIONS = (nn.GELU, nn.ReLU, nn.SiLU)


def save(system: nn.Module, path: Path, keep: Keep) -> None:
    """Write a system's tensors to a safetensors file; matrices and kernels as `keep` says, all others as they are.

    bf16: 8 bits of the mantissa are left. int8: whole multiples, up to 127, of a scale for each index of the first
    axis, float32, under the tensor's name and `/int8` and `/scale`. The file keeps the system's traits.
    """
    written: dict[str, Tensor] = {}
    for name, tensor in system.state_dict().items():
        plain = tensor.detach().cpu().contiguous().clone()
        if keep == "fp32" or plain.ndim < 2 or not plain.is_floating_point():
            written[name] = plain
        elif keep == "bf16":
            written[name] = plain.to(torch.bfloat16)
        else:
            written[name + BYTES], written[name + SCALE] = _in_bytes(plain)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file(written, path, metadata={**getattr(system, "traits", {}), "keep": keep})
    except SafetensorError as error:
        raise WorldError(f"{path} could not be written: {error}") from error


def load(system: nn.Module, path: Path) -> None:
    """Give a system of the same recipe the weights of a file that `save` wrote, in float32.

    Linear layers take the widths that the file has. Every tensor must be there: InputError for a file of another
    system, WorldError for one that is missing or damaged.
    """
    found, _ = read_weights(path)
    tensors = {
        name.removesuffix(BYTES): _plain(tensor, found.get(name.removesuffix(BYTES) + SCALE))
        for name, tensor in found.items()
        if not name.endswith(SCALE)
    }
    for name, layer in _linears(system):
        if f"{name}.weight" in tensors:
            _resized(layer, tensors[f"{name}.weight"].shape)
    try:
        system.load_state_dict(tensors)
    except RuntimeError as error:
        first = [line.strip() for line in str(error).splitlines()[1:3]]
        raise InputError(f"{path} holds the weights of another system: {' '.join(first)[:300]}") from error


def _in_bytes(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """int8 and the scales (N, 1, ..., 1) that it is to be multiplied by."""
    largest = tensor.abs().flatten(1).amax(1).view(-1, *[1] * (tensor.ndim - 1))
    scale = (largest / 127).clamp(min=torch.finfo(torch.float32).tiny)
    return (tensor / scale).round().to(torch.int8), scale


def _plain(tensor: Tensor, scale: Tensor | None) -> Tensor:
    if scale is not None:
        return tensor.float() * scale
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def _linears(system: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, module) for name, module in system.named_modules() if isinstance(module, nn.Linear))


def _resized(layer: nn.Linear, shape: torch.Size) -> None:
    """Let a layer have a weight of another shape (outputs, inputs), with numbers that are to be overwritten."""
    if shape == layer.weight.shape:
        return
    layer.out_features, layer.in_features = shape
    layer.weight = nn.Parameter(layer.weight.new_zeros(shape), layer.weight.requires_grad)
    if layer.bias is not None and len(layer.bias) != shape[0]:
        layer.bias = nn.Parameter(layer.bias.new_zeros(shape[0]), layer.bias.requires_grad)


def zero_smallest(system: nn.Module, share: float) -> float:
    """Set the smallest weights of all linear layers and convolutions to zero; the share of them that is zero then.

    Small is by magnitude, over all layers together. Shapes stay, so does the time: kernels multiply the zeros too.
    """
    _check_share(share)
    layers = [each for each in system.modules() if isinstance(each, nn.Linear | nn.modules.conv._ConvNd)]
    if not layers:
        raise InputError("the system has no linear layer and no convolution, so --prune has no use")
    prune.global_unstructured([(each, "weight") for each in layers], pruning_method=prune.L1Unstructured, amount=share)
    for each in layers:
        prune.remove(each, "weight")
    zeros = sum(int((each.weight == 0).sum()) for each in layers)
    return zeros / sum(each.weight.numel() for each in layers)


def take_units_out(system: nn.Module, share: float) -> int:
    """Take the least of the hidden units out of every pair of linear layers with an activation between them.

    What is left of such a pair is a smaller pair: fewer weights, fewer products. A unit's size is the norm of its
    incoming weights times that of its outgoing ones. Gives how many units are gone; InputError where there is no pair.
    """
    _check_share(share)
    pairs = [pair for module in system.modules() if (pair := _pair(module)) is not None]
    if not pairs:
        raise InputError("the system has no two linear layers with an activation between them, so --narrow has no use")
    return sum(_without_least(first, second, share) for first, second in pairs)


def _pair(module: nn.Module) -> tuple[nn.Linear, nn.Linear] | None:
    """The two layers of a feed-forward block: a sequence of three, or `fc1` and `fc2` as timm and DINOv2 name them."""
    if isinstance(module, nn.Sequential):
        if len(module) != 3 or not isinstance(module[1], ACTIVATIONS):
            return None
        first, second = module[0], module[2]
    else:
        first, second = getattr(module, "fc1", None), getattr(module, "fc2", None)
        if not isinstance(getattr(module, "norm", None), nn.Identity | None):
            return None
    if not (isinstance(first, nn.Linear) and isinstance(second, nn.Linear)):
        return None
    return (first, second) if first.out_features == second.in_features else None


def _without_least(first: nn.Linear, second: nn.Linear, share: float) -> int:
    with torch.no_grad():
        size = first.weight.norm(dim=1) * second.weight.norm(dim=0)
        left = max(1, round((1 - share) * len(size)))
        kept = size.topk(left).indices.sort().values
        incoming, outgoing = first.weight[kept], second.weight[:, kept]
        bias = None if first.bias is None else first.bias[kept]
        _resized(first, incoming.shape)
        _resized(second, outgoing.shape)
        first.weight.copy_(incoming)
        second.weight.copy_(outgoing)
        if bias is not None:
            first.bias.copy_(bias)
    return len(size) - left


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise InputError(f"{share:g} is no share of weights", "a number between 0 and 1")

"""A network of its authors' checkout, seen as a base of the engine."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from engine import events
from engine.errors import InputError, WorldError
from engine.prediction import Batch, Prediction
from engine_checkouts.arguments import Arguments, arguments, called
from engine_checkouts.isolation import alone
from engine_checkouts.offline import offline
from engine_checkouts.options import CheckoutOptions, NetworkOptions
from engine_checkouts.outputs import prediction
from engine_checkouts.padding import Padding
from engine_checkouts.parts import load_part
from engine_checkouts.preset import Preset
from engine_checkouts.presets import PRESETS
from engine_checkouts.recomputing import recompute
from engine_checkouts.safeguards import Fresh, Precision, attend_along_disparity, attends_across_slots, batch_norms
from engine_checkouts.traced import Traced


class Checkout(nn.Module):
    """The authors' network between the engine's batches and predictions.

    Its children are the network's own, so globs read `base.update_block.**` and its state has the names of the authors'
    checkpoints. notes: what its user should know of what it was built from. traits: the axis of its attention, which no
    tensor shows.
    """

    notes: Sequence[events.Note]
    traits: Mapping[str, str]

    def __init__(self, network: nn.Module, preset: Preset, options: NetworkOptions, precision: Precision) -> None:
        super().__init__()
        self.preset, self.options, self.notes, self.traits = preset, options, [], {}
        self._precision = precision
        # Not a child, which would put its name before all others: the two share children, parameters and buffers.
        self.__dict__["_network"] = network
        for register in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
            self.__dict__[register] = network.__dict__[register]
        self._norms = batch_norms(network) if options.freeze_bn else []
        self.fresh: Fresh | None = None
        self.exportable = Traced({}, {})
        """A context in which torch's exporter can follow the network."""

    def forward(self, batch: Batch) -> Prediction:
        """Disparity of batch["left"] against batch["right"], (B, 3, H, W) RGB in 0..255 of any size.

        `value` is (B, 1, H, W) float32, px at full resolution, positive. In training mode `intermediates` holds the
        iterations before the last, and features["initial"] a first estimate of lower resolution where there is one.

        Raises InputError for a frozen backbone of random numbers, for parts that are set to train and get no gradient,
        and for a precision that the network cannot be trained in.
        """
        preset = self.preset
        left, right = batch["left"], batch["right"]
        padding = Padding(left.shape[-2], left.shape[-1], preset.multiple)
        self._check(left.device.type)
        for norm in self._norms:
            norm.training = False
        self._network.training = self.training
        more: dict[str, Any] = {}
        if preset.iterations is not None:
            more[preset.iterations] = self.iterations
        if preset.test_mode is not None:
            more[preset.test_mode] = not self.training
        scale = preset.brightest / 255
        with self._precision.of_engine(left.device.type):
            result = self._network(padding.pad(scale * left.float()), padding.pad(scale * right.float()), **more)
        return prediction(result, preset.train if self.training else preset.evaluate, padding)

    @property
    def iterations(self) -> int | None:
        """How often the network refines its estimate in its present mode; None where it does not iterate."""
        if self.preset.iterations is None:
            return None
        if self.training:
            return self.options.train_iters or self.preset.train_iters
        return self.options.valid_iters or self.preset.valid_iters

    def _check(self, device: str) -> None:
        """Mistakes that a network answers with nothing but a worse result, or by ending the process."""
        preset = self.preset
        if self.fresh is not None:
            if self.fresh.still(self.get_submodule(preset.backbone)):
                raise InputError(
                    f"'{preset.backbone}', the frozen backbone of {preset.network}, holds the random numbers it was "
                    "built with, and everything else would be trained on those",
                    "give [model] the authors' checkpoint as weights, or the backbone's own as "
                    'parts = { "PART" = "FILE" }; for a test, allow_random_backbone = true',
                )
            self.fresh = None
        if not (self.training and torch.is_grad_enabled()):
            return
        if device == "cpu" and not preset.cpu_bf16 and _lower_precision(device):
            raise InputError(
                f"the backward pass of {preset.network} in half precision ends the process on a CPU",
                'train.precision = "fp32" on a CPU',
            )
        idle = [pattern for pattern in preset.never_trained() if self._trains(pattern)]
        if idle:
            frozen = ", ".join(f'"{pattern}"' for pattern in preset.never_trained())
            raise InputError(
                f"no gradient of {preset.network} reaches {', '.join(idle)}, which this stage trains",
                f"add to the stage: frozen = [{frozen}]",
            )

    def _trains(self, pattern: str) -> bool:
        part = self.get_submodule(pattern.removeprefix("base.").removesuffix(".**"))
        return any(parameter.requires_grad for parameter in part.parameters())


def _lower_precision(device: str) -> bool:
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) != torch.float32


def build(options: CheckoutOptions) -> Checkout:
    """The network that a recipe asks for by the name of its preset."""
    return built(PRESETS[options.preset], options)


def built(preset: Preset, options: NetworkOptions) -> Checkout:
    """The network of a preset, from the checkout, without any download.

    Raises InputError for arguments, parts and segments that do not fit, and for a folder that holds something else;
    WorldError for a folder or a package that is not there.
    """
    values = arguments(preset, options)
    folder = _folder(preset, options)
    _import_needed(preset)
    only_names = torch.get_default_device().type == "meta"
    hubs = [folder / place for place in preset.hubs.values() if (folder / place).is_dir()]
    with alone(folder, hubs, preset.unused) as modules, offline(folder, preset.hubs), torch.device("cpu"):
        network = _constructed(preset, values, folder)
    precision = Precision()
    precision.take_the_place_of_autocast(modules.values())
    recompute(network, preset, options.checkpoint_segments)
    checkout = Checkout(network.to("meta") if only_names else network, preset, options, precision)
    if only_names:
        return checkout
    if preset.backbone and not options.allow_random_backbone:
        checkout.fresh = Fresh(network.get_submodule(preset.backbone))
    checkout.exportable = Traced(modules, preset.traced)
    checkout.notes = _prepared(network, preset, options, modules)
    checkout.traits = _traits(network, preset)
    return checkout


def _prepared(
    network: nn.Module, preset: Preset, options: NetworkOptions, modules: dict[str, ModuleType]
) -> list[events.Note]:
    """Load the parts, see to the attention; what the user should know of it."""
    notes = [_about_commit(preset, options)] if options.commit not in preset.commits else []
    for part, path in options.parts.items():
        notes.append(load_part(network, part, path))
    if preset.attention is not None and options.disparity_attention == "paper":
        changed = attend_along_disparity(network, modules, preset.attention)
        text = "attention runs along disparity, " + (
            "not as the checkout has it" if changed else "as the checkout has it"
        )
        notes.append(events.Note("info", text, {"module": preset.attention.module}))
    return notes


def _traits(network: nn.Module, preset: Preset) -> dict[str, str]:
    """The axis that the attention really has; a checkout whose own code runs along disparity has the paper's.

    None for a checkout whose attention has another name or form, or cannot be asked here, as one for GPUs alone.
    """
    if preset.attention is None:
        return {}
    try:
        along = attends_across_slots(network.get_submodule(preset.attention.probe), preset.attention.width)
    except (AttributeError, TypeError, RuntimeError, AssertionError):
        return {}
    return {"disparity_attention": "paper" if along else "checkout"}


def _about_commit(preset: Preset, options: NetworkOptions) -> events.Note:
    at = f"is at commit {options.commit[:12]}" if options.commit else "is no git repository, so its commit is unknown"
    tried = ", ".join(commit[:12] for commit in preset.commits) or "none"
    text = f"the checkout {options.checkout.name} {at}; {preset.network} was tried here with {tried}"
    return events.Note("warning", text, {"commit": options.commit, "sources": options.sources})


def _folder(preset: Preset, options: NetworkOptions) -> Path:
    folder = options.checkout
    if not folder.is_dir():
        raise WorldError(
            f"there is no checkout of {preset.network} at {folder}: git clone {preset.home}, and then "
            "--set model.checkout=FOLDER"
        )
    file = folder.joinpath(*preset.module.split(".")).with_suffix(".py")
    if not file.is_file():
        raise InputError(
            f"{folder} holds no {file.relative_to(folder)}, where {preset.network} should be", f"clone {preset.home}"
        )
    return folder


def _import_needed(preset: Preset) -> None:
    """Import what the checkout needs, as far as it is there, before anything stands in for other packages."""
    for name in preset.needs:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)


def _constructed(preset: Preset, values: Arguments, folder: Path) -> nn.Module:
    try:
        make = getattr(importlib.import_module(preset.module), preset.network)
        network: nn.Module = called(make, values, preset.form)
    except ModuleNotFoundError as error:
        missing = [package for package in preset.needs if importlib.util.find_spec(package) is None]
        advice = f": pip install {' '.join(missing)}" if missing else ""
        raise WorldError(f"the checkout in {folder} imports {error.name!r}, which is not installed{advice}") from error
    return network

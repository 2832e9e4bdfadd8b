"""Weight files: read without running code from them, loaded strictly, reported by count and by name."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.errors import InputError, WorldError

WRAPPERS = ("state_dict", "model")
"""Keys under which published checkpoints keep their tensors."""

DAMAGES = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
)
"""What torch raises for a file that is cut short or altered: wherever it is, its pickle is read as it stands."""


@dataclass(frozen=True)
class LoadReport:
    """What happened to each tensor of a file and of the module it was loaded into."""

    source: str
    matched: Sequence[str]
    renamed: Mapping[str, str]
    missing: Sequence[str]
    unexpected: Sequence[str]
    wrong_shape: Mapping[str, str]

    def __str__(self) -> str:
        text = f"{self.source}: {len(self.matched) + len(self.renamed)} tensors loaded"
        counts = [
            (len(self.renamed), "renamed"),
            (len(self.missing), "missing"),
            (len(self.unexpected), "unexpected"),
            (len(self.wrong_shape), "wrong shape"),
        ]
        return text + "".join(f", {count} {what}" for count, what in counts if count)

    def to_dict(self) -> dict[str, object]:
        """Counts and names, for the event log."""
        return {
            "source": self.source,
            "matched": len(self.matched),
            "renamed": dict(self.renamed),
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
            "wrong_shape": dict(self.wrong_shape),
        }


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name from a safetensors file or a torch file, and the texts that it keeps beside them.

    A torch file is read with `weights_only`. Raises WorldError when the file is missing or damaged, InputError when it
    is no weights file.
    """
    if not path.is_file():
        raise WorldError(f"no weights file at {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                return load_file(path), file.metadata() or {}
        except SafetensorError as error:
            raise WorldError(f"{path} is damaged or not a safetensors file: {error}") from error
    content = read_torch(path)
    about = {}
    if isinstance(content, dict):
        about = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, str)}
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise InputError(
            f"{path} holds no mapping of tensors (looked at the top level and under {', '.join(WRAPPERS)})"
        )
    return content, about


def read_torch(path: Path) -> Any:
    """What a torch file holds, read without running code from it.

    Raises WorldError when it is damaged, InputError when it is no torch file or one that could run code.
    """
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # of what is odd about a file that is refused, or read all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _may_be_torch_file(path):
            raise InputError(f"{path} is not a torch file") from error
        raise InputError(
            f"{path} holds more than tensors, or is damaged, and is not opened, since that could run code"
        ) from error
    except DAMAGES as error:
        raise WorldError(f"{path} is damaged or not a torch file: {error}") from error


def _may_be_torch_file(path: Path) -> bool:
    """Whether a file begins as torch files do: as a zip, or, before torch 1.6, as a pickle of protocol 2 or later."""
    with path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80"))


def write_weights(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """Write tensors by name to a safetensors file; WorldError when it cannot be written."""
    written: dict[str, Tensor] = {}
    memory: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        # Tied weights share their memory, which safetensors refuses: each is written under its own name.
        written[name] = plain.clone() if place in memory else plain
        memory.add(place)
    try:
        save_file(written, path, metadata=dict(about or {}))
    except SafetensorError as error:  # its own kind for a full disk too
        raise WorldError(f"{path} could not be written: {error}") from error


def load_into(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str, rename: Mapping[str, str] | None = None
) -> LoadReport:
    """Copy tensors into a module, all or none: any missing tensor or wrong shape is an error and nothing is copied.

    `rename` maps names in the file to names in the module; a `module.` prefix (left by parallel wrappers) is
    dropped as well. Tensors the module has no place for are reported, not loaded. Values are cast to the
    module's dtype, but whole numbers, as of weights in 8 bits, are no fractions: taken as they stand, without their
    scale, they would train and measure without an error. Raises InputError with the report.
    """
    wanted = module.state_dict(keep_vars=True)
    renames = {name: (rename or {}).get(name, name).removeprefix("module.") for name in tensors}
    arrived = {renames[name]: name for name in tensors}
    present = [name for name in wanted if name in arrived]
    report = LoadReport(
        source=source,
        matched=[name for name in present if arrived[name] == name and _fits(tensors[name], wanted[name])],
        renamed={
            arrived[name]: name
            for name in present
            if arrived[name] != name and _fits(tensors[arrived[name]], wanted[name])
        },
        missing=[name for name in wanted if name not in arrived],
        unexpected=[name for name in tensors if renames[name] not in wanted],
        wrong_shape={
            name: f"file {tuple(tensors[arrived[name]].shape)}, module {tuple(wanted[name].shape)}"
            for name in present
            if not _fits(tensors[arrived[name]], wanted[name])
        },
    )
    if report.missing or report.wrong_shape:
        raise InputError(
            f"{report}; missing: {_some(report.missing)}; "
            f"wrong shape: {_some([f'{name} ({shapes})' for name, shapes in report.wrong_shape.items()])}; "
            f"unexpected: {_some(report.unexpected)}",
            "check that the model's size in the recipe is the one these weights were made for",
        )
    whole = [name for name in present if _counts(tensors[arrived[name]]) and not _counts(wanted[name])]
    if whole:
        raise InputError(
            f"{source} holds whole numbers ({tensors[arrived[whole[0]]].dtype}) where the module has fractions: "
            f"{_some(whole)}; these are weights in another form, and not the weights",
            "read the file by what wrote it, or name the weights that it was made from",
        )
    with torch.no_grad():
        for name in present:
            wanted[name].copy_(tensors[arrived[name]])
    return report


def load_system(system: nn.Module, tensors: Mapping[str, Tensor], source: str) -> LoadReport:
    """Load a file into the whole system, or into its base alone when the file knows no injection.

    A file of the whole system also fits a system without injection; the injection's tensors are then reported as
    unexpected.
    """
    if holds_injection(tensors):
        return load_into(system, tensors, source)
    plain = {name: name.removeprefix("module.") for name in tensors}
    base: nn.Module = system.base  # type: ignore[assignment]  # nn.Module types every attribute as Tensor | Module
    return load_into(base, tensors, source, {name: short.removeprefix("base.") for name, short in plain.items()})


def holds_injection(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file holds an injection's weights, or a base alone."""
    return any(name.removeprefix("module.").startswith("injection.") for name in tensors)


def _fits(tensor: Tensor, place: Tensor) -> bool:
    return tensor.shape == place.shape


def _counts(tensor: Tensor) -> bool:
    """Whether it holds whole numbers."""
    return not (tensor.is_floating_point() or tensor.is_complex())


def _some(names: Sequence[str]) -> str:
    return (", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")) or "none"

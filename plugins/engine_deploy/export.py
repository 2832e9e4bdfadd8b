"""Write a system as an ONNX file of one size, held to what torch answers before it is there."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import GateRefusedError, InputError, PluginError, WorldError
from engine.files import write_json
from engine_deploy.answers import Plain, parts_of, plain_answer
from engine_deploy.inputs import injects, inputs_of, of_size, upside_down
from engine_deploy.onnx_file import OnnxFile, about_file, require_onnx

WITHIN = 1e-3
"""Px by which an ONNX file may differ from torch: a tenth of what the best matchers are told apart by."""
ONE_FILE = 1_900_000_000
"""Bytes of weights that fit beside a graph into the 2 GB of one ONNX file; more are written to a file of their own."""
PICTURES = ("left", "right")


def export(
    system: nn.Module,
    batches: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    base_alone: bool = False,
    within: float = WITHIN,
) -> dict[str, Any]:
    """Write `system` to `path`, and beside it a JSON file with what it takes and gives, which is returned.

    batches: samples of one, at whose size, or stretched to `size` (height, width), the file answers. The first is what
    the graph is recorded with; all of them, each also upside down, are what onnxruntime and torch must answer alike,
    within `within` px. GateRefusedError where they do not; nothing is written then. WorldError without the packages.
    """
    require_onnx()
    if path.suffix != ".onnx":
        raise InputError(f"{path} is no name of an ONNX file", "a name that ends in .onnx")
    asked = [of_size(_on_host(batch), size) for batch in batches]
    path.parent.mkdir(parents=True, exist_ok=True)
    with _system_on_host(system), tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        inject = not base_alone and injects(system, asked[0])
        with torch.no_grad():
            parts = parts_of(system(asked[0], inject=inject))
        fields = inputs_of(system, asked[0], inject)
        plain = Plain(system, list(fields), parts, inject).eval()
        made = Path(folder, path.name)
        opset = _recorded(plain, tuple(fields.values()), made)
        about = _described(system, plain, fields, plain_answer(plain, asked[0]), opset)
        write_json(about_file(made), about)
        about["parity"] = _held(plain, made, [each for one in asked for each in (one, upside_down(one))], within)
        write_json(about_file(made), about)
        for file in sorted(Path(folder).iterdir()):
            file.replace(path.parent / file.name)
    return about


@contextmanager
def _system_on_host(system: nn.Module) -> Iterator[None]:
    """The system on the CPU meanwhile, where onnxruntime computes too: a GPU's convolutions round to TF32."""
    device = next((each.device for each in system.parameters()), torch.device("cpu"))
    system.to("cpu")
    try:
        yield
    finally:
        system.to(device)


def _on_host(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in batch.items()}


def _recorded(plain: Plain, inputs: tuple[Tensor, ...], path: Path) -> int:
    """Record the graph, write it, and give the version of its operators; PluginError where torch cannot."""
    weights = sum(each.numel() * each.element_size() for each in plain.state_dict().values())
    followed = getattr(plain.system.base, "exportable", nullcontext)
    names = {"input_names": plain.fields, "output_names": plain.parts}
    try:
        with torch.no_grad(), followed(), _unwarned():
            program = torch.onnx.export(
                plain, inputs, dynamo=True, verbose=False, external_data=weights > ONE_FILE, **names
            )
    except torch.onnx.OnnxExporterError as error:
        reason = next((line for line in str(error.__cause__ or error).splitlines() if line.strip()), "")
        raise PluginError(f"torch could not follow {plain.system.names[0]} to export it: {reason}") from error
    if program is None:
        raise PluginError("torch gave no ONNX program")
    try:
        program.save(path, external_data=weights > ONE_FILE)
    except OSError as error:
        raise WorldError(f"{path} could not be written: {error.strerror}") from error
    return next(each.version for each in program.model_proto.opset_import if each.domain == "")


@contextmanager
def _unwarned() -> Iterator[None]:
    """Without what exporters warn of: their own code, that of the network's authors, packages that are not needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _described(
    system: nn.Module, plain: Plain, fields: Mapping[str, Tensor], answers: Sequence[Tensor], opset: int
) -> dict[str, Any]:
    import onnxruntime

    return {
        "inputs": [_input(name, value) for name, value in fields.items()],
        "outputs": [
            {"name": name, "shape": list(answer.shape), "what": _meaning(name, system.target)}
            for name, answer in zip(plain.parts, answers, strict=True)
        ],
        "normalisation": "none: pictures are RGB in 0..255, and what else is done to them is part of the graph",
        "iterations": getattr(system.base, "iterations", None),
        "injection": plain.inject,
        "traits": dict(getattr(system, "traits", {})),
        "opset": opset,
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
    }


def _input(name: str, value: Tensor) -> dict[str, Any]:
    low, high = (0.0, 255.0) if name in PICTURES else (float(value.min()), float(value.max()))
    about = {"name": name, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
    return about | {"range": [low, high], "range_is": "what it means" if name in PICTURES else "that of one sample"}


def _meaning(name: str, target: str) -> str:
    value = f"{target}, in px of the input where it is a disparity"
    return {"value": value, "confidence": "0..1, 1 is sure", "visibility": "0..1, 1 is seen by all views"}[name]


def _held(plain: Plain, path: Path, asked: Sequence[dict[str, Any]], within: float) -> dict[str, Any]:
    """How far onnxruntime is from torch at most and in the mean, a part of the answer; GateRefusedError beyond."""
    file = OnnxFile(path)
    worst, mean = dict.fromkeys(plain.parts, 0.0), dict.fromkeys(plain.parts, 0.0)
    for batch in asked:
        answer = file(batch)
        for name, expected in zip(plain.parts, plain_answer(plain, batch), strict=True):
            apart = (getattr(answer, name).cpu() - expected).abs().nan_to_num(nan=float("inf"))
            worst[name] = max(worst[name], float(apart.max()))
            mean[name] += float(apart.mean()) / len(asked)
    if not max(worst.values()) <= within:  # a bound that is no number bounds nothing
        told = ", ".join(f"{name} by up to {worst[name]:.3g}" for name in plain.parts)
        raise GateRefusedError(
            f"the ONNX file answers otherwise than torch on {len(asked)} inputs: {told}; at most {within:g} was asked. "
            "Nothing was written"
        )
    return {"max": worst, "mean": mean, "within": within, "inputs": len(asked)}


def quantised(path: Path) -> Path:
    """Write FILE.int8.onnx beside an exported file: 8-bit weights of convolutions and products, and inputs likewise.

    The scales of the inputs are found as it runs (onnxruntime's dynamic quantisation), so no data is needed.
    """
    require_onnx()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    to = path.with_suffix(".int8.onnx")
    # Unsigned, since onnxruntime's convolutions on a CPU take no signed weights.
    kinds = ["MatMul", "Gemm", "Conv"]
    with _unwarned():
        quantize_dynamic(path, to, op_types_to_quantize=kinds, weight_type=QuantType.QUInt8)
    about = json.loads(about_file(path).read_text())
    about["parity"] = None
    about["quantised"] = "dynamic, uint8 weights of MatMul, Gemm and Conv"
    write_json(about_file(to), about)
    return to

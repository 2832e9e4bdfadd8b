"""An ONNX file of a system, with what it takes to use it told beside it, and the file as the base of a system."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import InputError, WorldError
from engine.prediction import Batch, Prediction

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """WorldError that names the extra, where one of the packages behind it is not installed. Nothing is imported."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise WorldError(
            f'ONNX files need {" and ".join(missing)}, not installed: pip install "experiment-engine[export]"'
        )


def about_file(path: Path) -> Path:
    """Where it is told what an ONNX file takes and gives."""
    return path.with_suffix(".json")


class OnnxFile(nn.Module):
    """An ONNX file, run by onnxruntime on the CPU with as many threads as torch has; a base without parameters.

    iterations: how often the exported network refines its estimate, None where that is not told.
    Raises WorldError where the file or what is told of it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        require_onnx()
        import onnxruntime

        self.about = _about(path)
        self.iterations: int | None = self.about.get("iterations")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        try:
            self.runner = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except (RuntimeError, ValueError, *_runtime_errors()) as error:
            raise WorldError(f"onnxruntime does not run {path}: {str(error).splitlines()[0]}") from error

    def forward(self, batch: Batch) -> Prediction:
        """The file's answer, sample by sample, on the batch's device; InputError for pictures of another size."""
        device = batch[self.about["inputs"][0]["name"]].device
        given = {each["name"]: self._given(batch, each) for each in self.about["inputs"]}
        size = len(next(iter(given.values())))
        answers = [
            self.runner.run(None, {name: value[at : at + 1] for name, value in given.items()}) for at in range(size)
        ]
        names = (each["name"] for each in self.about["outputs"])
        parts = zip(names, zip(*answers, strict=True), strict=True)
        found = {name: torch.cat([torch.from_numpy(each) for each in part]) for name, part in parts}
        return Prediction(**{name: each.to(device) for name, each in found.items()})

    def _given(self, batch: Batch, wanted: Mapping[str, Any]) -> Any:
        value: Tensor = batch[wanted["name"]]
        if list(value.shape[1:]) != wanted["shape"][1:]:
            raise InputError(
                f"the ONNX file takes {wanted['name']!r} of shape {wanted['shape']}, not {[1, *value.shape[1:]]}",
                "export it at the size of these pictures: --size HEIGHTxWIDTH",
            )
        return value.cpu().numpy()


def _about(path: Path) -> dict[str, Any]:
    for file in (path, about_file(path)):
        if not file.is_file():
            raise WorldError(f"there is no file {file}")
    try:
        about: dict[str, Any] = json.loads(about_file(path).read_text())
    except ValueError as error:
        raise WorldError(f"{about_file(path)} is damaged: {error}") from error
    if not (isinstance(about, dict) and about.get("inputs") and about.get("outputs")):
        raise WorldError(f"{about_file(path)} is damaged: it tells no inputs and outputs of {path.name}")
    return about


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises for files that it cannot read or run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return state.InvalidProtobuf, state.InvalidGraph, state.Fail, state.NotImplemented, state.InvalidArgument

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor, nn
from toy_world import system

from engine.checkpoints.weights import load_into, load_system, read_weights, write_weights
from engine.errors import EngineError, InputError, WorldError


def module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def other() -> dict[str, Tensor]:
    """Tensors that fit `module`, all different from its own."""
    return {name: value + 1 for name, value in module().state_dict().items()}


def test_every_tensor_and_buffer_is_copied_and_counted() -> None:
    target = module()
    report = load_into(target, other(), "file")
    assert all(torch.equal(value, other()[name]) for name, value in target.state_dict().items())
    assert str(report) == "file: 7 tensors loaded"
    assert report.to_dict()["matched"] == 7
    assert not report.missing
    assert not report.unexpected


def test_missing_and_misshapen_tensors_are_named_and_nothing_is_copied() -> None:
    tensors = other()
    del tensors["0.bias"]
    tensors["1.weight"] = torch.zeros(4)
    tensors["extra"] = torch.zeros(1)
    target = module()
    with pytest.raises(InputError) as error:
        load_into(target, tensors, "file")
    text = str(error.value)
    assert "file: 5 tensors loaded, 1 missing, 1 unexpected, 1 wrong shape" in text
    assert "missing: 0.bias;" in text
    assert "wrong shape: 1.weight (file (4,), module (3,));" in text
    assert "unexpected: extra" in text
    assert "size" in error.value.advice
    assert all(torch.equal(value, module().state_dict()[name]) for name, value in target.state_dict().items())


def test_long_lists_of_names_are_cut_with_their_count() -> None:
    with pytest.raises(InputError, match=r"missing: 0\.weight, .* and 1 more;"):
        load_into(module(), {}, "file")


def test_tensors_without_a_place_are_reported_and_left_out() -> None:
    report = load_into(module(), other() | {"extra": torch.zeros(1)}, "file")
    assert report.unexpected == ["extra"]
    assert str(report) == "file: 7 tensors loaded, 1 unexpected"


def test_renamed_tensors_and_parallel_prefixes_find_their_place() -> None:
    tensors = {f"module.{name}": value for name, value in other().items()}
    tensors["old"] = tensors.pop("module.0.bias")
    target = module()
    report = load_into(target, tensors, "file", rename={"old": "0.bias"})
    assert report.renamed["old"] == "0.bias"
    assert report.renamed["module.0.weight"] == "0.weight"
    assert str(report) == "file: 7 tensors loaded, 7 renamed"
    assert all(torch.equal(value, other()[name]) for name, value in target.state_dict().items())


def test_a_half_precision_file_is_cast_to_the_modules_type() -> None:
    target = module()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in other().items()}
    load_into(target, halves, "file")
    assert target.state_dict()["0.weight"].dtype == torch.float32
    assert torch.equal(target.state_dict()["0.weight"], halves["0.weight"].float())


def test_weights_kept_in_whole_numbers_are_refused_and_nothing_is_copied() -> None:
    tensors = other() | {"0.weight": torch.full((3, 2), 127, dtype=torch.int8), "0.weight/scale": torch.ones(3, 1)}
    target = module()
    with pytest.raises(InputError, match=r"file holds whole numbers \(torch\.int8\) .*: 0\.weight; "):
        load_into(target, tensors, "file")
    assert all(torch.equal(value, module().state_dict()[name]) for name, value in target.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_of_the_whole_system_fills_base_and_injection(prefix: str) -> None:
    target, source = system(0), system(1, first=0.2)
    load_system(target, {prefix + name: value for name, value in source.state_dict().items()}, "file")
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())


def test_a_file_of_the_base_alone_fills_the_base_and_leaves_the_injection() -> None:
    target, source = system(0, first=0.2), system(1)
    load_system(target, source.base.state_dict(), "file")
    assert torch.equal(target.get_parameter("base.head.weight"), source.get_parameter("base.head.weight"))
    assert target.get_parameter("injection.head.bias").item() == pytest.approx(0.2)


def test_a_file_of_the_whole_system_fits_a_system_without_injection() -> None:
    target = system(0)
    target.injection = None
    report = load_system(target, system(1).state_dict(), "file")
    assert report.unexpected == ["injection.head.weight", "injection.head.bias"]


def test_tied_weights_are_written_under_both_names(tmp_path: Path) -> None:
    tied = torch.arange(6.0).reshape(2, 3)
    write_weights(tmp_path / "w.safetensors", {"in": tied, "out": tied, "part": tied[1]})
    found, _ = read_weights(tmp_path / "w.safetensors")
    assert torch.equal(found["in"], tied)
    assert torch.equal(found["out"], tied)
    assert torch.equal(found["part"], tied[1])


def test_safetensors_files_round_trip_with_their_story(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, {"t": torch.arange(6).reshape(2, 3).T}, {"stage": "A"})
    assert torch.equal(read_weights(path)[0]["t"], torch.arange(6).reshape(2, 3).T)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"stage": "A"}


@pytest.mark.parametrize(
    "content",
    [{"w": torch.ones(2)}, {"state_dict": {"w": torch.ones(2)}, "epoch": 3}, {"model": {"w": torch.ones(2)}}],
    ids=["plain", "state_dict", "model"],
)
def test_torch_files_are_read_with_and_without_wrappers(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    assert torch.equal(read_weights(tmp_path / "w.pth")[0]["w"], torch.ones(2))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"w": 1}}, {1: torch.ones(2)}])
def test_a_torch_file_without_tensors_is_the_users_mistake(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match="holds no mapping of tensors"):
        read_weights(tmp_path / "w.pth")


class Malicious:
    """Unpickling it would create a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("kind", ["zip", "before torch 1.6", "pickle"])
def test_a_file_that_would_run_code_is_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    content, path = {"w": Malicious(tmp_path / "trace")}, tmp_path / "w.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(InputError, match="could run code"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", ["truncated", "empty"])
def test_a_damaged_file_is_a_fault_of_the_world(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save({"w": torch.ones(1000)}, path)
    else:
        write_weights(path, {"w": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:500] if content == "truncated" else b"")
    with pytest.raises(WorldError, match=f"{name} is damaged"):
        read_weights(path)


def read_or_refused(path: Path) -> dict[str, Tensor] | EngineError:
    try:
        return read_weights(path)[0]
    except EngineError as error:
        return error


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, bytes]]:
    """A file of each kind that is read, and its bytes."""
    folder = tmp_path_factory.mktemp("weights")
    tensors = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5, dtype=torch.int64)}
    torch.save(tensors, folder / "zip.pth")
    torch.save(tensors, folder / "old.pth", _use_new_zipfile_serialization=False)
    write_weights(folder / "w.safetensors", tensors, {"stage": "A"})
    return {file.name: (file, file.read_bytes()) for file in folder.iterdir()}


@settings(max_examples=150)
@given(
    st.sampled_from(["zip.pth", "old.pth", "w.safetensors"]),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=4),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_damage_anywhere_is_told_or_leaves_tensors_by_name(
    files: dict[str, tuple[Path, bytes]], name: str, changes: list[tuple[int, int]], cut: float | None
) -> None:
    path, whole = files[name]
    content = bytearray(whole)
    for place, byte in changes:  # the pickle of a zip begins after its 64 bytes, the header of the others at once
        content[place % len(content)] = byte
    path.write_bytes(content if cut is None else content[: int(cut * len(content))])
    read = read_or_refused(path)
    if isinstance(read, EngineError):
        assert str(path) in str(read)
    else:
        assert all(isinstance(each, str) and isinstance(value, Tensor) for each, value in read.items())


def header(tensors: Any, length: int | None = None) -> bytes:
    """A safetensors file of 32 bytes of numbers under a header that says anything."""
    text = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(32)


def tensor(*offsets: int, shape: tuple[int, ...] = (4,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "content",
    [
        header({"w": tensor(0, 16)}, length=2**63),
        header({"w": tensor(0, 16)}, length=10**6),
        header({"w": tensor(0, 16)}, length=3),
        header(b"{"),
        header(b"[]"),
        header(b"\xff" * 8),
        header(b"[" * 5000),
        header({"a": tensor(0, 16), "b": tensor(8, 24)}),
        header({"a": tensor(0, 16), "b": tensor(20, 32)}),
        header({"w": tensor(0, 64)}),
        header({"w": tensor(16, 0)}),
        header({"w": tensor(0, 16, shape=(2**40, 2**40))}),
        header({"w": tensor(0, 16, dtype="F99")}),
        header({"w": {}}),
        header({"__metadata__": {"n": 1}, "w": tensor(0, 32, shape=(8,))}),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WorldError, match=r"w\.safetensors is damaged or not a safetensors file"):
        read_weights(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 40) | st.sampled_from([2**64, 1e300, "F32", "BF16", "I64", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["w", "dtype", "shape", "data_offsets", "__metadata__"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(JSON)
def test_any_header_is_read_or_refused(files: dict[str, tuple[Path, bytes]], said: Any) -> None:
    path, _ = files["w.safetensors"]
    path.write_bytes(header(said))
    read = read_or_refused(path)
    assert isinstance(read, WorldError) or not read


def test_a_missing_file_is_a_fault_of_the_world(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="no weights file at"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"Not found: log in to download this file\n", b"<!DOCTYPE html>\n<html></html>\n"])
def test_a_text_file_is_no_torch_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.pth"
    path.write_bytes(content)
    with pytest.raises((InputError, WorldError), match="not a torch file"):
        read_weights(path)

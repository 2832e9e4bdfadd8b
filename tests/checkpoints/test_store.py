from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import room_for
from torch import Tensor

from engine.checkpoints import store as module
from engine.checkpoints.store import MANIFEST, STATE, WEIGHTS, CheckpointStore, read_checkpoint
from engine.errors import WorldError
from engine.files import file_digest


def tensors(step: int) -> dict[str, Tensor]:
    return {"a": torch.full((3,), float(step)), "b": torch.tensor(step)}


def saved(folder: Path, *steps: int, keep: int = 9, best: int | None = None) -> CheckpointStore:
    """A store in `folder` with checkpoints of these steps on disk."""
    store = CheckpointStore(folder, keep)
    for step in steps:
        store.save(step, tensors(step), None, {"step": step}, best=step == best)
    store.wait()
    return store


def steps_of(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def test_what_is_saved_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    weights = {"w": torch.tensor([-0.0, float("nan"), 1e-42]), "half": torch.ones(2, dtype=torch.float16)}
    average = {"w": torch.tensor([1.0, 2.0, 3.0])}
    state = {"step": 7, "optimizer": {0: {"moment": torch.arange(3)}}, "pair": (1, [2.0]), "none": None}
    store.save(7, weights, average, state, best=True)
    store.close()
    found = store.latest(print)
    assert found is not None
    assert found.average is not None
    assert found.step == 7
    assert torch.equal(found.weights["w"].view(torch.int32), weights["w"].view(torch.int32))
    assert found.weights["half"].dtype == torch.float16
    assert torch.equal(found.average["w"], average["w"])
    assert torch.equal(found.state["optimizer"][0]["moment"], torch.arange(3))
    assert found.state["pair"] == (1, [2.0])


def test_later_changes_to_the_weights_do_not_reach_a_checkpoint_in_the_making(tmp_path: Path) -> None:
    store, weights = CheckpointStore(tmp_path, keep=1), {"w": torch.zeros(100_000)}
    state = {"deep": [weights["w"]]}
    store.save(1, weights, weights, state, best=False)
    weights["w"].fill_(9)
    store.close()
    found = store.latest(print)
    assert found is not None
    assert found.average is not None
    assert not found.weights["w"].any()
    assert not found.average["w"].any()
    assert not found.state["deep"][0].any()


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "nothing", keep=1).latest(print) is None


@pytest.mark.parametrize("part", [WEIGHTS, STATE, MANIFEST])
@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "missing", "empty"])
def test_a_damaged_part_falls_back_to_the_checkpoint_before(tmp_path: Path, part: str, damage: str) -> None:
    store = saved(tmp_path, 1, 2)
    path = tmp_path / "step-0000002" / part
    content = path.read_bytes()
    if damage == "flipped bit":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "truncated":
        path.write_bytes(content[:-7])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    told: list[str] = []
    found = store.latest(told.append)
    assert found is not None
    assert found.step == 1
    (line,) = told
    named = path.parent if part == MANIFEST else path  # a flipped digest in the manifest looks like a flipped file
    assert line.startswith(str(named)), "the damaged part is named"
    assert line.endswith("it is passed over")


def test_a_manifest_that_is_not_a_table_is_passed_over(tmp_path: Path) -> None:
    store = saved(tmp_path, 1, 2)
    (tmp_path / "step-0000002" / MANIFEST).write_text("[]")
    found = store.latest(print)
    assert found is not None
    assert found.step == 1


def test_a_write_that_was_killed_between_files_is_not_taken_for_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = saved(tmp_path, 1)

    def killed(content: object, path: Path) -> None:
        raise KeyboardInterrupt  # nothing after this line runs, as when the process is killed here

    monkeypatch.setattr(module.torch, "save", killed)
    store.save(2, tensors(2), None, {}, best=True)
    with pytest.raises(KeyboardInterrupt):
        store.wait()
    (partial,) = tmp_path.glob(".step-0000002*")
    assert (partial / WEIGHTS).exists()
    assert not (partial / MANIFEST).exists()
    found = store.latest(print)
    assert found is not None
    assert found.step == 1
    assert (tmp_path / "latest").read_text().strip() == "step-0000001"

    monkeypatch.undo()
    store.save(3, tensors(3), None, {}, best=True)  # a stop comes at another step than the death did
    store.close()
    assert steps_of(tmp_path) == [1, 3]
    assert not list(tmp_path.glob(".step-*")), "what was left of the killed write is gone"


def test_a_checkpoint_that_is_written_again_is_never_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = saved(tmp_path, 1, keep=1)
    rename = Path.rename

    def killed_before_the_new_one(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed_before_the_new_one)
    store.save(1, tensors(1), None, {}, best=False)
    with pytest.raises(KeyboardInterrupt):
        store.wait()
    monkeypatch.undo()
    assert steps_of(tmp_path) == [], "this is the moment in which only the one set aside is there"
    store.recover()
    found = store.latest(pytest.fail)
    assert found is not None
    assert found.step == 1


def test_a_checkpoint_under_the_name_of_another_step_is_passed_over(tmp_path: Path) -> None:
    store = saved(tmp_path, 1, 2)
    (tmp_path / "step-0000002").rename(tmp_path / "step-0000009")
    told: list[str] = []
    found = store.latest(told.append)
    assert found is not None
    assert found.step == 1
    assert "step-0000009/manifest.json is damaged: it is of step 2" in told[0]


def test_the_last_few_stay_and_the_best_stays_longer(tmp_path: Path) -> None:
    saved(tmp_path, 10, 20, 30, 40, 50, keep=2, best=20).close()
    assert steps_of(tmp_path) == [20, 40, 50]
    assert (tmp_path / "best").read_text().strip() == "step-0000020"
    assert (tmp_path / "latest").read_text().strip() == "step-0000050"


def test_a_new_best_lets_the_old_one_go(tmp_path: Path) -> None:
    store = saved(tmp_path, 10, 20, 30, keep=1, best=10)
    store.save(40, tensors(40), None, {}, best=True)
    store.close()
    assert steps_of(tmp_path) == [40]


@pytest.mark.parametrize(
    ("writer", "error"),
    [
        ("save", OSError(errno.ENOSPC, "No space left on device")),
        ("write_weights", OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_a_full_disk_is_told_in_words_and_the_checkpoint_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, error: Exception
) -> None:
    store = saved(tmp_path, 1)

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(module.torch if writer == "save" else module, writer, full)
    store.save(2, tensors(2), None, {}, best=False)
    with pytest.raises(WorldError, match="No space left on device"):
        store.wait()
    found = store.latest(print)
    assert found is not None
    assert found.step == 1


def close_after_an_error(store: CheckpointStore) -> None:
    """As a stage does that the same full disk has ended already."""
    try:
        raise OSError("the event log")
    finally:
        store.close()


@pytest.mark.parametrize("large", ["weights", "state"])
def test_a_write_that_the_system_refuses_is_told_in_words(tmp_path: Path, large: str) -> None:
    # The writers of safetensors and torch raise errors of their own kinds here, not OSError.
    store = saved(tmp_path, 1)
    many = torch.zeros(100_000)
    with room_for(50_000):
        store.save(
            2, {"w": many} if large == "weights" else tensors(2), None, {"s": many} if large == "state" else {}, False
        )
        with pytest.raises(WorldError, match=r"could not be written.*File too large"):
            close_after_an_error(store)
    found = store.latest(print)
    assert found is not None
    assert found.step == 1


def test_the_next_save_reports_that_the_one_before_failed(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "file", keep=1)
    (tmp_path / "file").write_text("not a folder")
    store.save(1, tensors(1), None, {}, best=False)
    with pytest.raises(WorldError, match="could not be written"):
        store.save(2, tensors(2), None, {}, best=False)
    store.close()


class Malicious:
    """Unpickling it would create a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_state_that_would_run_code_is_not_opened_even_with_the_right_digest(tmp_path: Path) -> None:
    saved(tmp_path, 1).close()
    folder = tmp_path / "step-0000001"
    torch.save({"step": Malicious(tmp_path / "trace")}, folder / STATE)
    manifest: Mapping[str, Any] = json.loads((folder / MANIFEST).read_text())
    manifest["files"][STATE] = file_digest(folder / STATE)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(WorldError, match=r"state\.pt holds more than tensors, or is damaged, and is not opened"):
        read_checkpoint(folder)
    assert not (tmp_path / "trace").exists()


def test_a_checkpoint_can_be_moved(tmp_path: Path) -> None:
    saved(tmp_path / "one", 1).close()
    shutil.move(tmp_path / "one", tmp_path / "other")
    found = CheckpointStore(tmp_path / "other", keep=1).latest(print)
    assert found is not None
    assert torch.equal(found.weights["a"], tensors(1)["a"])

"""Packing a data set into a zarr store and reading it back: what is stored, how it goes on, what is refused."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conftest import Command, WriteRecipe, only_run, weights_of
from forked import Forks

from engine.data import packing, shards
from engine.data.loader import Fixed, evaluation_batches
from engine.data.options import ZarrOptions
from engine.data.packing import pack
from engine.data.source import Source
from engine.data.zarr_store import ZarrData
from engine.errors import DamagedDataError, InputError, WorldError

ABOUT = {"data": {"plugin": "made-up"}}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.shards.CHUNK_BYTES", 4096)


class Sizes:
    """Samples of several sizes, kinds of numbers and fields; the third size is tall enough for several chunks."""

    def __init__(self, sizes: Sequence[tuple[int, int]] = ((4, 6), (5, 6), (43, 30)), count: int = 7) -> None:
        self.sizes = sizes
        self.count = count

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        assert rng is None, "packing asks for no random augmentation"
        numbers = np.random.default_rng(index)
        size = self.sizes[index % len(self.sizes)]
        sample: dict[str, Any] = {
            "left/view": numbers.normal(size=(3, *size)).astype(np.float32),
            "valid": numbers.random((1, *size)) > 0.5,
            "focal": np.float32(100 + index),
            "count": 2**40 + index,
            "raw": numbers.integers(0, 60_000, size).astype(">u2"),
            "id": f"frame {index}",
            "scene": f"scene {index % 2}",
        }
        sample["left/view"][0, 0, :3] = np.nan, -0.0, np.inf
        if index == 1:
            del sample["focal"], sample["scene"]
        return sample

    def scenes(self) -> list[str]:
        return [f"a: scene {index % 2}" for index in range(self.count)]

    def units(self) -> dict[str, str]:
        return {"focal": "px"}


def packed(tmp_path: Path, dataset: Any = None, workers: int = 0, **options: Any) -> ZarrData:
    """The data set packed and opened."""
    out = tmp_path / "x.zarr"
    pack(Source(dataset or Sizes(), "made-up data"), out, ABOUT, lambda *_: None, workers)
    return ZarrData(ZarrOptions(path=out, **options))


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Fields, their types and every bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, str):
            assert found[name] == value
        else:
            like = np.asarray(value)
            assert np.asarray(found[name]).dtype == like.dtype.newbyteorder("<"), name
            assert np.shape(found[name]) == like.shape, name
            assert np.asarray(found[name]).tobytes() == like.astype(like.dtype.newbyteorder("<")).tobytes(), name


@pytest.mark.parametrize("workers", [0, 2])
def test_every_field_of_every_size_comes_back_bit_for_bit(tmp_path: Path, workers: int) -> None:
    store = packed(tmp_path, workers=workers)
    assert len(store) == 7
    for index in range(7):
        assert_same(store.sample(index, None), Sizes().sample(index, None))
    assert store.scenes() == Sizes().scenes()
    assert store.units() == {"focal": "px"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zarr"]


def test_what_is_read_may_be_written_to(tmp_path: Path) -> None:
    sample = packed(tmp_path).sample(2, None)
    sample["left/view"] += 1


def test_a_batch_read_by_workers_is_that_of_the_data_set(tmp_path: Path) -> None:
    store = packed(tmp_path, Sizes(sizes=[(4, 6)]))
    ours = [list(batch["id"]) for batch in evaluation_batches(Fixed(store), 1, workers=2, pin=False)]
    assert ours == [[f"frame {index}"] for index in range(7)]


def test_zarr_itself_reads_the_same_numbers(tmp_path: Path) -> None:
    packed(tmp_path)
    root = zarr.open_group(tmp_path / "x.zarr", mode="r")
    tall = root["group-2"]["left%2Fview"]
    assert isinstance(tall, zarr.Array)
    assert tall.shape == (2, 3, 43, 30)
    assert 1 < tall.chunks[2] < 43, "a tall picture is several chunks"
    np.testing.assert_array_equal(tall[1], Sizes().sample(5, None)["left/view"])
    assert root["group-0"]["focal"].attrs["units"] == "px"
    assert root["group-0"]["raw"].dtype == np.uint16
    assert root.attrs["provenance"]["data"] == {"plugin": "made-up"}


def test_digests_tell_what_the_fields_hold_and_not_how_they_were_packed(tmp_path: Path) -> None:
    first, second, third = ((tmp_path / name) for name in "abc")
    for folder, workers in ((first, 0), (second, 2)):
        packed(folder, workers=workers)

    class Other(Sizes):
        def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
            sample = super().sample(index, rng)
            sample["valid"] ^= True
            return sample

    packed(third, Other())

    def digests(folder: Path) -> dict[str, Any]:
        root = zarr.open_group(folder / "x.zarr", mode="r")
        return {array.path: array.attrs["sha256"] for _, group in root.groups() for _, array in group.arrays()}

    assert digests(first) == digests(second)
    differ = {path for path, digest in digests(first).items() if digests(third)[path] != digest}
    assert differ == {path for path in digests(first) if path.endswith("valid")}


@pytest.mark.parametrize("index", [0, 2])
def test_a_crop_is_the_same_window_of_every_field(tmp_path: Path, index: int) -> None:
    store = packed(tmp_path, crop=(3, 5))
    whole = Sizes().sample(index, None)
    height, width = whole["raw"].shape
    top, left = (height - 3) // 2, (width - 5) // 2
    middle = store.sample(index, None)
    np.testing.assert_array_equal(middle["raw"], whole["raw"][top : top + 3, left : left + 5])
    np.testing.assert_array_equal(middle["left/view"], whole["left/view"][:, top : top + 3, left : left + 5])
    assert middle["focal"] == whole["focal"]
    places = set()
    for seed in range(8):
        drawn = store.sample(index, np.random.default_rng(seed))
        spots = np.argwhere(
            (np.lib.stride_tricks.sliding_window_view(whole["raw"], (3, 5)) == drawn["raw"]).all((2, 3))
        )
        assert len(spots) == 1
        (row, column) = spots[0]
        places.add((int(row), int(column)))
        np.testing.assert_array_equal(drawn["valid"], whole["valid"][:, row : row + 3, column : column + 5])
        assert_same(store.augment(store.whole(index), np.random.default_rng(seed)), drawn)
    assert len(places) > 1


def test_a_crop_reads_only_the_rows_that_it_touches(tmp_path: Path) -> None:
    packed(tmp_path)
    shard = tmp_path / "x.zarr" / "group-2" / "left%2Fview" / "c.0.0.0.0"
    spoil(shard, shard.stat().st_size - 10)  # in the last rows of the last sample
    whole, crop = (ZarrData(ZarrOptions(path=tmp_path / "x.zarr", crop=crop)) for crop in (None, (4, 8)))
    with pytest.raises(DamagedDataError):
        whole.sample(5, None)
    middle = Sizes().sample(5, None)["raw"][19:23, 11:19]
    np.testing.assert_array_equal(crop.sample(5, None)["raw"], middle)


def test_a_crop_that_does_not_fit_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"crop = \[5, 6\] does not fit in sample frame 0, which is \[4, 6\]"):
        packed(tmp_path, crop=(5, 6)).sample(0, None)


def spoil(file: Path, at: int) -> None:
    """Flip a bit."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def damage_of(store: ZarrData, expected: dict[str, Any]) -> DamagedDataError | None:
    """The damage that reading the first sample tells of; without it the sample is as expected."""
    try:
        assert_same(store.sample(0, None), expected)
    except DamagedDataError as error:
        return error
    return None


def test_every_flipped_bit_of_a_shard_is_damage_by_name_or_harmless(tmp_path: Path) -> None:
    packed(tmp_path, Sizes(sizes=[(4, 6)], count=2))
    shard = tmp_path / "x.zarr" / "group-0" / "raw" / "c.0.0.0"
    whole = shard.read_bytes()
    expected = Sizes(sizes=[(4, 6)]).sample(0, None)
    told = 0
    for at in [*range(0, 64), *range(shards.SHARD_SAMPLES * 16, len(whole))]:
        spoil(shard, at)
        damage = damage_of(ZarrData(ZarrOptions(path=tmp_path / "x.zarr")), expected)
        if damage is not None:
            told += 1
            assert (damage.array, damage.sample) == ("raw", "frame 0")
            assert str(shard) in damage.reason
        shard.write_bytes(whole)
    assert told >= 64 + 48, "the index and the chunk of the first sample"


@pytest.mark.parametrize("what", ["file", "end"])
def test_a_missing_shard_or_end_is_damage_and_never_zeros(tmp_path: Path, what: str) -> None:
    store = packed(tmp_path)
    shard = tmp_path / "x.zarr" / "group-2" / "valid" / "c.0.0.0.0"
    if what == "file":
        shard.unlink()
    else:
        os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(DamagedDataError, match="'valid'"):
        store.sample(5, None)
    assert_same(store.sample(0, None), Sizes().sample(0, None))


def test_a_chunk_that_the_index_lacks_is_missing(tmp_path: Path) -> None:
    packed(tmp_path)
    metadata = tmp_path / "x.zarr" / "zarr.json"
    document = json.loads(metadata.read_text())
    told = document["attributes"]["packed"]
    told["group"] = [0] * 7  # more rows than the group has
    from engine.data.zarr_store import digest

    document["attributes"]["sha256"] = digest(told)
    metadata.write_text(json.dumps(document))
    with pytest.raises(DamagedDataError, match="the chunk is missing"):
        ZarrData(ZarrOptions(path=tmp_path / "x.zarr")).sample(6, None)


@pytest.mark.parametrize("change", ["scene 1", '"rows": 4', "attributes"])
def test_a_changed_description_is_refused(tmp_path: Path, change: str) -> None:
    packed(tmp_path)
    metadata = tmp_path / "x.zarr" / "zarr.json"
    text = metadata.read_text()
    assert change in text
    metadata.write_text(text.replace(change, change[:-1] + "9"))
    with pytest.raises(WorldError, match="is no packed store"):
        len(ZarrData(ZarrOptions(path=tmp_path / "x.zarr")))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="there is no packed store at"):
        len(ZarrData(ZarrOptions(path=tmp_path / "x.zarr")))
    (tmp_path / "x.zarr.partial").mkdir()
    with pytest.raises(WorldError, match=r"its packing has not finished: .*x\.zarr\.partial"):
        len(ZarrData(ZarrOptions(path=tmp_path / "x.zarr")))


def test_a_store_is_read_by_url(tmp_path: Path) -> None:
    import fsspec

    packed(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(f"{tmp_path / 'x.zarr'}", "/packed-test/x.zarr", recursive=True)
    store = ZarrData(ZarrOptions(url="memory://packed-test/x.zarr"))
    for index in range(7):
        assert_same(store.sample(index, None), Sizes().sample(index, None))
    memory.rm("/packed-test/x.zarr/group-0/valid/c.0.0.0.0")
    with pytest.raises(DamagedDataError, match="'valid'"):
        ZarrData(ZarrOptions(url="memory://packed-test/x.zarr")).sample(0, None)
    with pytest.raises(InputError, match="nothing://x"):
        len(ZarrData(ZarrOptions(url="nothing://x")))


class Stops(Sizes):
    """Raises KeyboardInterrupt at one sample."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        if index == self.at:
            raise KeyboardInterrupt
        return super().sample(index, rng)


def contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("per_shard", [1, 2, 1024])
def test_an_interrupted_packing_goes_on_and_ends_as_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_shard: int
) -> None:
    monkeypatch.setattr("engine.data.shards.SHARD_SAMPLES", per_shard)
    packed(tmp_path / "whole")
    out = tmp_path / "x.zarr"
    monkeypatch.setattr(packing, "SYNC_SECONDS", 0.0)
    for at in (1, 4, 6):
        with pytest.raises(KeyboardInterrupt):
            pack(Source(Stops(at), "made-up data"), out, ABOUT, lambda *_: None)
        assert not out.exists()
        for array in (tmp_path / "x.zarr.partial" / "store").glob("group-*/*"):
            last = max(array.iterdir(), key=lambda shard: int(shard.name.split(".")[1]))
            with last.open("ab") as file:  # as what was written and not told of in the journal
                file.write(b"half a chunk")
    done = pack(Source(Sizes(), "made-up data"), out, ABOUT, lambda *_: None)
    assert (done.samples, done.taken_up) == (7, 6)
    assert contents(out) == contents(tmp_path / "whole" / "x.zarr")


def test_a_packing_whose_very_end_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(zarr, "consolidate_metadata", stop)
        with pytest.raises(KeyboardInterrupt):
            packed(tmp_path)
    store = packed(tmp_path)
    assert_same(store.sample(6, None), Sizes().sample(6, None))


def test_an_unfinished_store_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    with pytest.raises(KeyboardInterrupt):
        pack(Source(Stops(3), "made-up data"), out, ABOUT, lambda *_: None)
    with pytest.raises(InputError, match="another packing: it differs in data"):
        pack(Source(Sizes(), "made-up data"), out, {"data": {"plugin": "other"}}, lambda *_: None)


def test_a_store_that_is_there_is_left_alone(tmp_path: Path) -> None:
    packed(tmp_path)
    before = contents(tmp_path / "x.zarr")
    with pytest.raises(InputError, match="is there already"):
        packed(tmp_path)
    assert contents(tmp_path / "x.zarr") == before


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    class Meets(Sizes):
        def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
            with pytest.raises(WorldError, match="is being packed in another process"):
                packed(tmp_path)
            return super().sample(index, rng)

    store = packed(tmp_path, Meets(count=2))
    assert len(store) == 2


def test_a_full_disk_is_told_and_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.data import packed_group

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(packed_group, "sync", full)
        with pytest.raises(WorldError, match=r"could not be written: No space left on device; the same command"):
            packed(tmp_path)
    assert_same(packed(tmp_path).sample(3, None), Sizes().sample(3, None))


class Damaged(Sizes):
    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        if index == 1:
            raise DamagedDataError("raw", "frame 1", "its file is cut short")
        return super().sample(index, rng)


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_samples_stop_it_or_are_left_out_as_the_recipe_says(tmp_path: Path, workers: int) -> None:
    out, told = tmp_path / "x.zarr", []
    with pytest.raises(DamagedDataError, match="frame 1"):
        pack(Source(Damaged(), "made-up data"), out, ABOUT, lambda *_: None, workers)
    done = pack(Source(Damaged(), "made-up data", True, told.extend), out, ABOUT, lambda *_: None, workers)
    assert (done.samples, done.damaged, len(told)) == (6, 1, 1)
    store = ZarrData(ZarrOptions(path=out))
    assert [store.sample(index, None)["id"] for index in range(6)] == [f"frame {index}" for index in (0, 2, 3, 4, 5, 6)]


@pytest.mark.parametrize("value", [None, {"a": 1}, np.zeros((0, 3)), np.array(["text"])])
def test_a_field_that_a_store_cannot_hold_is_named(tmp_path: Path, value: Any) -> None:
    class Odd(Sizes):
        def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
            return {**super().sample(index, rng), "odd": value}

    with pytest.raises(InputError, match=r"made-up data, sample 0: field 'odd' is .*; a store holds numbers and texts"):
        packed(tmp_path, Odd())


def test_training_on_a_packed_recipe_ends_in_the_same_weights(
    tmp_path: Path, engine: Command, toy_recipe: WriteRecipe
) -> None:
    plain = toy_recipe(data={"train": {"noise": False}})
    for split in ("train", "val"):
        done = engine("data", "pack", plain, "--split", split, "--out", f"{split}.zarr", "--workers", 0)
        assert done.code == 0, done.err
    assert "24 samples" in engine("data", "pack", plain, "--out", "again.zarr", "--workers", "2").out
    packed_toml = tmp_path / "packed.toml"
    packed_toml.write_text(
        'extends = "toy.toml"\nname = "packed"\n'
        '[data]\ntrain = { plugin = "zarr", path = "train.zarr" }\nval = { plugin = "zarr", path = "val.zarr" }\n'
    )
    for recipe in (plain, packed_toml):
        ended = engine("run", recipe)
        assert ended.code == 0, ended.err
    ours, theirs = (weights_of(only_run(tmp_path, name), "C") for name in ("toy", "packed"))
    assert all(value.equal(theirs[name]) for name, value in ours.items())


SLOW = """
import os, time
from pathlib import Path
from toy_plugin import DataOptions, ToyData
from engine.hookspecs import hookimpl

class Slow(ToyData):
    def sample(self, index, rng):
        while index == 12 and not Path("go").exists():
            time.sleep(0.01)
        return super().sample(index, rng)

@hookimpl
def engine_datasets(register):
    register("slow", DataOptions, Slow)
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_packing_goes_on(tmp_path: Path, toy_recipe: WriteRecipe, forks: Forks, workers: int) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    toy = str(toy_recipe())
    recipe = tmp_path / "slow.toml"
    recipe.write_text(
        f'extends = "{toy}"\nplugins = ["{Path(__file__).parents[1] / "toy_plugin.py"}", "slow.py"]\n'
        '[data]\ntrain = { plugin = "slow" }\n'
    )
    command = ("data", "pack", recipe, "--out", "x.zarr", "--workers", workers)
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    running = forks.start(*command, folder=tmp_path, **environment)
    partial = tmp_path / "x.zarr.partial" / "store" / "group-0" / "image"
    until = time.monotonic() + 60
    while not partial.is_dir():
        assert not running.ended(), running.wait().err
        assert time.monotonic() < until
        time.sleep(0.01)
    running.signal(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    assert not (tmp_path / "x.zarr").exists()
    (tmp_path / "go").touch()
    done = forks.run(*command, folder=tmp_path, **environment)
    assert done.code == 0, done.err
    assert "24 samples" in done.out
    from toy_plugin import DataOptions, ToyData

    store = ZarrData(ZarrOptions(path=tmp_path / "x.zarr"))
    for index in range(24):
        assert_same(store.sample(index, None), ToyData(DataOptions()).sample(index, None))

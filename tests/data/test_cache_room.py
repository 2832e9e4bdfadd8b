"""The frozen-output cache keeps its limit: the longest unused stores go, and none that a process has open."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine.data.cache import Lock, cache_directory, opened
from engine.data.cache_room import NoRoomError, limit, make_room, remove_unused, stores
from engine.errors import InputError

WHERE = "recipe.toml:7:1"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path))
    monkeypatch.setenv("ENGINE_CACHE_GB", "1e-6")  # 1000 bytes
    return cache_directory("frozen")


def make(name: str, used: float, size: int = 300) -> Path:
    def fill(partial: Path) -> None:
        partial.mkdir()
        (partial / "content").write_bytes(bytes(size))

    path = cache_directory("frozen") / f"{name}.zarr"
    opened(path, fill, lambda: None)[1].close()
    os.utime(path.with_suffix(".lock"), (used, used))
    os.utime(path, (0, 0))
    return path


def test_the_longest_unused_stores_make_room_for_a_new_one(cache: Path) -> None:
    old, new, middle = make("a", used=100), make("b", used=300), make("c", used=200)
    assert [each.path for each in stores()] == [old, middle, new]
    assert make_room(100, WHERE) == []
    removed = make_room(500, WHERE)
    assert [each.path for each in removed] == [old, middle][: len(removed)]
    assert [each.size for each in removed] == [300] * len(removed)
    assert sorted(path.name for path in cache.iterdir())[-2:] == ["b.lock", "b.zarr"]
    assert not old.exists()
    assert not old.with_suffix(".lock").exists()


def test_a_store_that_is_open_stays_and_using_it_makes_it_the_newest(cache: Path) -> None:
    open_one, other = make("a", used=100), make("b", used=200)
    made, lock = opened(open_one, lambda partial: pytest.fail("it is there"), lambda: None)
    assert not made
    assert [each.path for each in stores()] == [other, open_one]
    assert [each.path for each in remove_unused()] == [other]
    with pytest.raises(NoRoomError, match=r"0\.00 GB of frozen outputs are in use, .* raise ENGINE_CACHE_GB"):
        make_room(900, WHERE)
    lock.close()
    assert [each.path for each in make_room(900, WHERE)] == [open_one]


def test_who_waits_for_a_store_reads_it_while_its_maker_still_does(cache: Path) -> None:
    cache.mkdir(parents=True)
    path = cache / "a.zarr"
    making = Lock.taken(path)
    readers: list[Lock] = []

    def made_meanwhile() -> None:
        assert not readers, "it is there, and who waits must see it"
        path.mkdir()
        assert making is not None
        making.close()
        reader = Lock.taken(path, shared=True)
        assert reader is not None
        readers.append(reader)

    made, lock = opened(path, lambda partial: pytest.fail("it is being made"), made_meanwhile)
    assert not made
    lock.close()


def test_what_alone_exceeds_the_limit_is_refused_and_nothing_goes(cache: Path) -> None:
    kept = make("a", used=100)
    with pytest.raises(InputError, match=rf"{WHERE}: the frozen outputs take up to .* \(ENGINE_CACHE_GB\)"):
        make_room(1001, WHERE)
    assert kept.exists()


def test_what_an_interrupted_process_left_is_listed_and_removed(cache: Path) -> None:
    left = cache / "a.zarr.partial-12345678"
    left.mkdir(parents=True)
    (left / "content").write_bytes(bytes(10))
    assert [(each.path, each.size) for each in stores()] == [(left, 10)]
    assert [each.path for each in remove_unused(days=1)] == []
    assert [each.path for each in remove_unused()] == [left]
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ENGINE_CACHE_GB", text)
    with pytest.raises(InputError, match="expected the size of the cache in GB"):
        limit()


def test_what_a_killed_removal_left_does_not_stop_the_next_one(cache: Path) -> None:
    path = make("a", used=100)
    left = path.with_name("a.zarr.removed")
    left.mkdir()
    (left / "content").write_bytes(bytes(10))
    remove_unused()
    assert list(cache.iterdir()) == []


def test_stores_are_listed_while_others_finish_and_remove_theirs(cache: Path) -> None:
    path, ended = make("a", used=100), threading.Event()
    (path / "group").mkdir()

    def come_and_go() -> None:
        while not ended.is_set():
            path.rename(path.with_suffix(".partial"))
            path.with_suffix(".partial").rename(path)

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert all(each.size in (0, 300) for _ in range(300) for each in stores())
    finally:
        ended.set()
        other.join()

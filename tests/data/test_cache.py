"""A folder of the cache is made once, whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from engine.data.cache import cache_directory, made_once
from engine.errors import WorldError


def write(folder: Path) -> None:
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "number").write_text("7")


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "own"))
    assert cache_directory("frozen") == tmp_path / "own" / "frozen"
    monkeypatch.delenv("ENGINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory("frozen") == tmp_path / "xdg" / "engine" / "frozen"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory("frozen") == tmp_path / ".cache" / "engine" / "frozen"


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "thing.zarr"
    assert made_once(path, write)
    assert not made_once(path, pytest.fail)
    assert (path / "inner" / "number").read_text() == "7"


def test_a_failure_leaves_nothing_and_the_next_one_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "thing.zarr"

    def fails(partial: Path) -> None:
        write(partial)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made_once(path, fails)
    assert [each.name for each in tmp_path.iterdir()] == ["thing.lock"]
    assert made_once(path, write)


def test_a_folder_that_takes_no_file_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorldError, match=r"thing\.zarr cannot be written: .*File exists"):
        made_once(tmp_path / "file" / "thing.zarr", write)


def _makes_slowly(path: Path, makers: Path) -> None:
    def slowly(partial: Path) -> None:
        write(partial)
        (makers / str(os.getpid())).touch()
        time.sleep(0.2)

    made_once(path, slowly)
    assert (path / "inner" / "number").read_text() == "7"


def test_of_several_processes_one_makes_it_and_the_others_wait(tmp_path: Path) -> None:
    makers = tmp_path / "makers"
    makers.mkdir()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_makes_slowly, args=(tmp_path / "thing.zarr", makers)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(list(makers.iterdir())) == 1


def _never_ends(path: Path) -> None:
    def endless(partial: Path) -> None:
        write(partial)
        (path.parent / "begun").touch()
        signal.pause()

    made_once(path, endless)


def test_what_a_killed_process_left_is_not_read_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "thing.zarr"
    process = multiprocessing.get_context("fork").Process(target=_never_ends, args=(path,))
    process.start()
    while not (tmp_path / "begun").exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    (left_over,) = tmp_path.glob("thing.zarr.partial-*")
    assert not path.exists()
    assert made_once(path, write)
    assert not left_over.exists()


def test_who_waits_may_give_up(tmp_path: Path) -> None:
    path = tmp_path / "thing.zarr"

    class GivenUpError(Exception):
        pass

    def give_up() -> None:
        raise GivenUpError

    def meanwhile(partial: Path) -> None:
        with pytest.raises(GivenUpError):
            made_once(path, pytest.fail, give_up)
        write(partial)

    assert made_once(path, meanwhile)
